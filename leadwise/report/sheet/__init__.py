"""Draw the standard ECG sheet, 25 mm/s and 10 mm/mV, with the diagnoses below it.

`layout` computes positions, `paper` draws in millimetres and writes files, `panel` draws what is below the trace.
"""

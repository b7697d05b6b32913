"""The standard ECG sheet, 25 mm/s and 10 mm/mV, with the findings below it."""

"""One recording: read its files, name what was repaired, order its leads, resample and prepare its signal.

No networks, no diagnoses' rewards, no torch: reading a header must not take two seconds.
"""

"""Provide what the organisers' driver.py of 2020 imports; see team_code.py."""

from team_code import load_12ECG_model, run_12ECG_classifier  # noqa: F401

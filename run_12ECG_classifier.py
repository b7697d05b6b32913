"""What the organisers' driver.py of 2020 imports; loading and scoring are told in team_code.py."""

from team_code import load_12ECG_model, run_12ECG_classifier  # noqa: F401

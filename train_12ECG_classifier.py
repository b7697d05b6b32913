"""Provide what the organisers' train_model.py of 2020 imports; see team_code.py."""

from team_code import training_code as train_12ECG_classifier  # noqa: F401

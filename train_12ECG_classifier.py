"""What the organisers' train_model.py of 2020 imports; the training itself is told in team_code.py."""

from team_code import training_code as train_12ECG_classifier  # noqa: F401

"""Imitate the organisers' train_model.py of 2020: train_model.py DATA MODEL. Written from the contract alone."""

import sys
from pathlib import Path

from train_12ECG_classifier import train_12ECG_classifier

if __name__ == "__main__":
    data, model = sys.argv[1:]
    Path(model).mkdir(exist_ok=True)
    train_12ECG_classifier(data, model)
    print("Done.")

"""Imitate the organisers' train_model.py of 2021: train_model.py DATA MODEL. Written from the contract alone."""

import sys

from team_code import training_code

if __name__ == "__main__":
    data, model = sys.argv[1:]
    training_code(data, model)
    print("Done.")

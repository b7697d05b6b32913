"""A training to be killed: python -m benchmarks.gpu.train MODEL DATA DEVICE EPOCHS"""

from __future__ import annotations

import sys

import torch

from benchmarks.gpu.material import quick_options
from team_code import training_code

if __name__ == "__main__":
    model, data, device, epochs = sys.argv[1:]
    training_code(data, model, quick_options(torch.device(device), int(epochs)))

"""Train a small model that another process kills: python -m benchmarks.gpu.train MODEL DATA DEVICE EPOCHS"""

from __future__ import annotations

import sys

import torch

from benchmarks.gpu.material import quick_options
from leadwise.training.run import train
from leadwise.util.progress import log_to_stdout

if __name__ == "__main__":
    log_to_stdout()
    model, data, device, epochs = sys.argv[1:]
    train(data, model, quick_options(torch.device(device), int(epochs)))

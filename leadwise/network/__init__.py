"""Compute the SE-ResNet, also in fast forms for CPUs and GPUs. Tensors only: no files, no recordings, no training."""

"""The SE-ResNet and its fast forms for CPUs and GPUs. Tensors only: no files, no recordings, no training loop."""

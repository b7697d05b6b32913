"""Train a model: the whole run, its folds, epochs and batches, and what survives an interruption."""

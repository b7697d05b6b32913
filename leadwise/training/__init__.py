"""Train a model: the whole run, its folds, epochs and batches, and how it survives interruptions."""

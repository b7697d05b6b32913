"""From a folder of recordings to a prepared data set and its folds. Arrays and files, no torch."""

"""From probabilities to labels: thresholds and votes, calibration, expected reward. Arrays only, no torch, no files."""

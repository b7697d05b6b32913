"""Speed, measured as ratios to baselines in one run: `make bench`."""

"""A trained model: its folder on disk, loading it, and scoring recordings with it. No training."""

"""Fit, checkpoints, reproducibility."""

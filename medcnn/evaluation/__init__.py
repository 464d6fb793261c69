"""Metrics and statistics on arrays: numpy and scipy.special, no torch."""

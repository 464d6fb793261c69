"""A training from its folder to its review."""

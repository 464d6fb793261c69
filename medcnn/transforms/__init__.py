"""Deterministic steps and random steps."""

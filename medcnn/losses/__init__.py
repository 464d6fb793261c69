"""Losses: plain tensors in, a number out."""

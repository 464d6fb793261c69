"""What is particular to training segmenters."""

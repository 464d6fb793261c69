"""What is particular to training regressions."""

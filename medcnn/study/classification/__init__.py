"""What is particular to training classifiers."""

"""The run: MLflow behind one small interface. The training process only appends to a file; another process delivers."""

"""The folder a trained model lives in."""

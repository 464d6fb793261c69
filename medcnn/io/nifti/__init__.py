"""NIfTI files: read to their last byte, and written."""

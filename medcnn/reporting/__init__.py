"""Figures, tables and the one-file HTML page: what people look at."""

"""Data sets as they come: each file reads one way of laying out scans and what is known about them."""

"""Where a network looked."""

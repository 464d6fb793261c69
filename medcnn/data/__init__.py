"""From a manifest to prepared scans in batches."""

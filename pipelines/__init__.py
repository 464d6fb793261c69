"""Whole studies on public data sets, one short file each, built from the verbs."""

"""Thousands of damaged scans: what medcnn's readers make of each, beside raw pydicom and nibabel."""

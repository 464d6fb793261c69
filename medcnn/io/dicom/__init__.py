"""DICOM files: walked, sorted, read into images and volumes; segmentations read and written."""

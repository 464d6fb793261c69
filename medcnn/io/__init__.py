"""Reading scans: DICOM, NIfTI, pictures and array archives; no torch, no MONAI."""

"""medcnn: from a folder of X-ray or MRI scans to a CNN one can trust."""

__version__ = "0.1.0"

"""Composite instances by DICOM Part 3: shared modules, and one file a family of IODs."""

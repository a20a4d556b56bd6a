"""Verification: source, receipt, manifest and cloud must agree, byte for byte."""

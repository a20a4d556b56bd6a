"""Pixel data that looks like anatomy: enough structure to compress, window and compare."""

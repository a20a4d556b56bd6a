"""Benchmarks: ours against the best that somebody else offers, on the same machine, in turn."""

"""Expectation suites, and what those of headers are generated from; see docs/completeness.md."""

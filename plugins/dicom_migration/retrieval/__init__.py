"""Retrieval benchmark: how long a clinician waits, cloud and source side by side."""

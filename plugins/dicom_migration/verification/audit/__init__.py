"""The audit of a sample: how much is drawn, what is compared, and how it is told."""

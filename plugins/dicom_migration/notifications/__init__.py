"""Airflow notifiers: alerts configured without code."""

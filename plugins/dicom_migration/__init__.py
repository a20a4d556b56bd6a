"""Moves a medical image archive to the cloud in provable steps, as Apache Airflow DAGs."""

__version__ = "0.1.0"

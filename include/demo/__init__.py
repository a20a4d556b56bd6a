"""The demonstration: a whole migration under a real Airflow, from one command."""

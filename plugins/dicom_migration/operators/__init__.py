"""Airflow operators: each calls one function of a phase package and returns a summary."""

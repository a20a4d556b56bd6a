"""Airflow hooks: connections turned into archives, stores and the ledger."""

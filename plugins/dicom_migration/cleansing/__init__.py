"""Cleansing: judge header facts, propose corrections, quarantine what a person must decide."""

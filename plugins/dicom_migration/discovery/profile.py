"""The rows that the inventory suite judges, as one query that SQLite and PostgreSQL both run."""

from __future__ import annotations

SUITE = "inventory"
#: What the judgement is kept under: the whole ledger, newest only.
SUBJECT = "inventory"
#: Empty text becomes NULL, so that "is present" is one expectation. Dates are told by their form
#: here: SQLite has no regular expressions.
PROFILE_QUERY = (
    "SELECT study_instance_uid,"
    " CASE WHEN length(study_date) = 8 AND study_date BETWEEN '19000101' AND '21001231'"
    " THEN 'date' WHEN study_date = '' THEN 'missing' ELSE 'malformed' END AS study_date_form,"
    " NULLIF(patient_id, '') AS patient_id,"
    " NULLIF(accession_number, '') AS accession_number,"
    " NULLIF(patient_sex, '') AS patient_sex,"
    " NULLIF(modalities, '') AS modalities,"
    " number_of_instances"
    " FROM study"
)

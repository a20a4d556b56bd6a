"""The ledger's tables, by what they are about; :mod:`dicom_migration.ledger.schema` has all."""

"""Operating the migration: working its exceptions."""

"""Alembic environment: runs on the connection that the caller opened."""

from alembic import context

from dicom_migration.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()

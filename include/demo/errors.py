"""What the demonstration says when it cannot go on: what failed, and what to do."""


class DemoError(RuntimeError):
    """The demonstration cannot begin or go on; the message says why and what to do."""


class MigrationFailedError(DemoError):
    """A DAG run failed; the message holds the end of the failed tasks' logs."""

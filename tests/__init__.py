"""The project's tests; a package so that `tests` never means somebody else's."""

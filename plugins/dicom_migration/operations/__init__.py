"""Operations: what the team sees and is told while the migration runs."""

"""Field completeness: Great Expectations suites, run once per batch, told without values."""

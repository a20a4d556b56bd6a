"""Discovery and planning: inventory the source, decide per study, plan waves and cost."""

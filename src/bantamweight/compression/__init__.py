"""Score, allocate, cut: one criterion or scheme per file."""

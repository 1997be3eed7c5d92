"""One training loop, one objective or schedule per file."""

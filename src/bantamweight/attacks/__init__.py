"""One attack per file; the loop that runs them all is in `_core`."""

"""One attack per file; the loop that runs them all is in `_core`."""

ALSO = {"apgd_t": "apgd", "fab_t": "fab"}
"""Further attacks of a family's file."""

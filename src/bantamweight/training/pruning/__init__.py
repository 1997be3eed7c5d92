"""Ways to cut weights while training goes on: each makes, from a `Span`, what is cut at which step; one per file."""

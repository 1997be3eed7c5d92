"""Learning-rate schedules: each makes, from a `Span`, the factor that multiplies the rate at a step; one per file."""

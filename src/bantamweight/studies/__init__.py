"""A study (YAML) becomes jobs, jobs become facts."""

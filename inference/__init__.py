"""A complete series or study becomes a triage result."""

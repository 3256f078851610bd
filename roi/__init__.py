"""Settings, composition, command line: knows everyone, does nothing."""

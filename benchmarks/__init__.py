"""What the archive does in a second, beside its peers in the same run."""

"""What can be imported: one file each, found by its name."""

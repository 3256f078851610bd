"""Result objects, one file per format."""

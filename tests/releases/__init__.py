"""Data folders of earlier releases, and what opens them."""

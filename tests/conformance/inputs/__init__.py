"""Real files of every kind, and what each model makes of them."""

"""The models that ship: one file each, a card and a way to load it."""

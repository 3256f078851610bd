"""The commands of `roi`: a file for those at the top that belong together, and one for each group.

Each file offers `app`; `roi.cli` puts them together.  A command says what can be said to it and calls what does it, a
module of the same noun in `roi`, which it loads when it runs.
"""

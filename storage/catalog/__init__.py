"""The catalogue: plain functions, a transaction first.  Whoever opens the transaction decides what belongs together."""

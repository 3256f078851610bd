"""Real programs the tests talk to: started on free loopback ports below a scratch folder, stopped without a trace."""

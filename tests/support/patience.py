"""How long a test may wait for real things before it is taken to hang."""

# Seconds: far more than the slowest machine needs. A bound against hanging, never a measurement.
PATIENCE = 300.0

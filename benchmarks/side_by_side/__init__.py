"""This engine beside others in one run: ``python -m benchmarks.side_by_side``."""

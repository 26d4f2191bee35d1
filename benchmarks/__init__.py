"""Measurements, side by side with others. ``python -m benchmarks`` runs them all."""

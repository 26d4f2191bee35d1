"""Measurements, side by side with others: ``make bench`` runs ``benchmarks.side_by_side``."""

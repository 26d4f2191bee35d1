"""This engine beside every other that a package registry has: ``python -m tests.interop``."""

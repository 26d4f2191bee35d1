"""Hosts as their users write them, each a program: it sets a tool up, runs a lot, and tells.

``python -m tests.support.hosts.ours PORT`` and ``….of_secsgem PORT`` print one object of JSON: the
acknowledge code of each reply, in order, and the events of the lot with the values of their report.
"""

PROGRAM = "RECIPE-1"
"""The process program of the lot."""

VARIABLES = ("PPExecName", "WaferCount")
"""What the reports have, by name; the host asks the tool for the ids (S1F11)."""

EVENTS = ("LotStarted", "WaferMeasured", "LotFinished")
"""The events of a lot, by name (S1F23)."""

TIME = "2026112718300000"
"""What the clock of the tool is set to (S2F31)."""

# Seconds: a bound against hanging.
PATIENCE = 60.0

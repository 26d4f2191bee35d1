"""What slow, hostile and late peers cost the others: figures, printed and never asserted.

Each module measures one figure and runs alone: ``python -m benchmarks.faults fairness``. Everything
is on loopback and bounded in time and number. The end under test has a process of its own, so that
its memory and its CPU time are its own; what attacks it is made of plain sockets. Needs Linux:
memory is read in ``/proc``.
"""

"""How many machine instructions small pieces of work take. Timings are never asserted, these are.

``scenarios`` is the program that is counted, ``counting`` counts it with callgrind and compares the
counts with ``pinned.json``. ``python -m tests.instructions`` is what ``make instructions`` runs.
"""

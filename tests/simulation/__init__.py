"""Links between real engines, over TCP in memory, on a virtual clock, through storms of faults.

``python -m tests.simulation`` runs plans made from seeds: ``plan`` makes one, ``run`` runs it,
``monitors`` watch every step, ``shrink`` makes a plan that fails smaller.
"""

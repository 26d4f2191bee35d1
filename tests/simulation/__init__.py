"""Links between real engines, over TCP in memory, on a virtual clock, through storms of faults.

``python -m tests.simulation`` runs plans made from seeds: ``plan`` makes one, ``run`` runs it, and
``shrink`` makes one that fails smaller. In a run, ``programs`` live, ``storm`` is what users do and
what breaks, ``calls`` are what goes between the ends, and ``recovery`` is what must be so at the
end. ``watch`` sees all of it, with ``monitors`` of every step and ``beside`` for what comes out,
and ``recording`` writes it down.
"""

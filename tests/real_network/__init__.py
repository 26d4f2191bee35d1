"""Faults on a real network: real programs in network namespaces, real TCP, real time.

``python -m tests.real_network`` makes the faults of ``rows`` one by one and compares how long each
took to be noticed, and the link to be back, with ``hsms_engine.bounds``. Imports point down:
``__main__``, ``table``, ``run``, ``rows``, ``judge``, ``stage``, ``namespaces``, ``way``. ``host``,
``equipment`` and ``relay`` are the programs that run in the namespaces.
"""

"""What proves the charts of HSMS, and nothing that runs: it is not part of the package.

``obligations`` and ``properties`` say what is owed and what is claimed, ``outside`` and ``model``
what may happen, ``searches`` which of it is searched, ``mutation`` and ``oracles`` how much the
whole is worth. ``python -m tests.proof`` prints what holds.
"""

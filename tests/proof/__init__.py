"""The proof of the HSMS charts. It is not part of the package.

``obligations`` and ``properties`` say what the charts must do, ``outside`` and ``model`` say what
may happen to them, ``searches`` lists what is searched, and ``mutation`` and ``oracles`` show how
much the proof is worth. ``python -m tests.proof`` prints what holds.
"""

"""Three processes of ``hsms-engine fleet``, one store, fifty tools, and what befalls them.

``python -m tests.fleet_demo`` shows it (``make fleet-demo``). The tools count for themselves, and
without the engine: what they count is the result. Imports point down: ``__main__``, ``story``,
``commander``, ``programs``, ``ledger``, ``tools``, which is the program of the tools.
"""

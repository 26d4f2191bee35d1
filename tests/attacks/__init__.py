"""Hostile peers against a server of ours, each with figures: ``python -m tests.attacks --list``.

The server has a process of its own, and one honest session that asks all the time. Attackers are
plain sockets on loopback, bounded in number and time. What each attack expects can fail; times are
printed and never judged. Needs Linux: memory is read in ``/proc``.

``hostile`` makes bytes, ``peer`` is a peer that says what it saw, ``victim`` the server process,
``attacks`` the list, ``run`` does one of them. The heart of each, without processes and times, is
in ``tests/test_attacks.py``.
"""

"""A fake equipment: the real passive engine, with misbehaviour around it.

A peer talks to ``hsms_engine.server``. A misbehaviour is in the listener or the byte stream below
it (``listener``, ``stream``), or in the handler above it (``equipment``), never in the engine.
"""

from hsms_engine.fake.behaviours import BehaviourError, Behaviours
from hsms_engine.fake.equipment import FakeEquipment, serve_fake

__all__ = ["BehaviourError", "Behaviours", "FakeEquipment", "serve_fake"]

"""An equipment that is not there: the real passive engine, with misbehaviour put around it.

What a peer talks to is ``hsms_engine.server``. A misbehaviour sits in the listener and the byte
stream below it (``listener``, ``stream``) or in the handler above it (``equipment``), never in the
engine.
"""

from hsms_engine.fake.behaviours import BehaviourError, Behaviours
from hsms_engine.fake.equipment import FakeEquipment, serve_fake

__all__ = ["BehaviourError", "Behaviours", "FakeEquipment", "serve_fake"]

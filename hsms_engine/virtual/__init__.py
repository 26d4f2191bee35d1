"""TCP in memory, on trio's clock: kernels joined by cables that can be slow, cut, and lossy.

``Network`` has ``Machine``s; each listens and dials, and gives ends of connections that the
engine's driver takes like its own: ``Socket``. What happens between two machines is set on their
``Way``s, and to a machine by its methods. With a virtual clock, and a ``Random`` with a seed, a run
is always the same.
"""

from hsms_engine.virtual.network import Machine, Network, Way
from hsms_engine.virtual.tcp import Kernel, Post, Socket

__all__ = ["Kernel", "Machine", "Network", "Post", "Socket", "Way"]

"""Hypothesis profiles, and what all tests have in common.

`ci`, the one `pyproject.toml` names, runs the same examples every time. To look for new ones:
`pytest --hypothesis-profile=explore`.
"""

import os
import signal
import sys

from hypothesis import settings

# No deadlines: a busy machine is not a failure.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)

# Processes that tests start fail when they open a text file by the encoding of the system. For
# this process `make check` says so: Python must know it at its start.
os.environ["PYTHONWARNDEFAULTENCODING"] = "1"
os.environ["PYTHONWARNINGS"] = "error::EncodingWarning"

# Whoever has started the tests may have let them ignore these, as a shell in the background or
# ``nohup`` does.
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

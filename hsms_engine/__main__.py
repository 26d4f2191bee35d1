"""``python -m hsms_engine``: the programs of this package, see ``hsms_engine.cli``."""

import sys

from hsms_engine.cli import main

sys.exit(main())

"""Ask a tool who it is, and print what it says.

python ask.py 10.1.2.3 5000
"""

import sys

from hsms_engine import HsmsError, blocking
from hsms_engine.messages import S1F1, S1F13


def main(host: str, port: int) -> None:
    try:
        with blocking.open_hsms(host, port, timeout=10) as tool:
            for message in (S1F13(), S1F1()):
                print(tool.request(message, timeout=10).sml())
    except (HsmsError, TimeoutError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Ask all tools of a file of links at once who they are.

python many_tools.py links.toml
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from hsms_engine import HsmsError, Settings, blocking
from hsms_engine.messages import S1F1


def who_is(settings: Settings) -> str:
    try:
        with blocking.open_hsms(settings, timeout=10) as tool:
            return str(tool.request(S1F1(), timeout=10).item)
    except (HsmsError, TimeoutError) as error:
        return str(error)


if __name__ == "__main__":
    links = Settings.links_from_toml(sys.argv[1])
    with ThreadPoolExecutor(32) as threads:
        for name, told in zip(links, threads.map(who_is, links.values()), strict=True):
            print(f"{name}: {told}")

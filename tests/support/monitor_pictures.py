"""``python -m tests.support.monitor_pictures``: the pictures of docs/monitor.md, of the page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from selenium.webdriver import Chrome
from selenium.webdriver.support.wait import WebDriverWait

from hsms_engine.monitor import MonitorServer, serve_monitor
from tests.support.browser import open_browser, seen_as
from tests.support.monitor_story import BEGAN, record_fab, record_story
from tests.support.patience import PATIENCE

FOLDER = Path(__file__).parents[2] / "docs" / "monitor"

# The name of a picture, where it is taken, its width and height, light or dark, what is there
# before it is taken, and the element to which the page is moved.
_LOST = f"#link=1-0&at={BEGAN + 60}"
_BACK = f"#link=1-0&at={BEGAN + 99}&span=60"
_LINE = "line !== null && document.querySelector('[data-chart=breaker] .lit') !== null"
PICTURES = (
    ("links", "#", 1200, 620, "light", "rows.size > 8", "body"),
    ("link", _LOST, 1200, 880, "light", f"{_LINE} && messages.items.size > 9", "body"),
    ("dark", _LOST, 1200, 480, "dark", f"{_LINE} && messages.items.size > 9", "body"),
    (
        "sequence",
        f"{_BACK}&tab=sequence",
        640,
        760,
        "light",
        "$('sequence').firstChild",
        "#panel-sequence",
    ),
)


def take(browser: Chrome, folder: Path, shown: MonitorServer) -> None:
    """Write all pictures into ``folder``."""
    browser.get(shown.link)
    _until(browser, "$('connection').dataset.state === 'connected'")
    for name, place, width, height, scheme, ready, top in PICTURES:
        seen_as(browser, width, scheme=scheme, height=height)
        browser.get("about:blank")
        browser.get(f"{shown.url}{place}")
        _until(browser, ready)
        browser.execute_script("document.querySelector(arguments[0]).scrollIntoView()", top)
        browser.save_screenshot(str(folder / f"{name}.png"))


def _until(browser: Chrome, holds: str) -> None:
    WebDriverWait(browser, PATIENCE).until(lambda it: it.execute_script(f"return {holds}"))


async def _serve(files: list[Path], work: Callable[[MonitorServer], None]) -> None:
    async with trio.open_nursery() as nursery:
        shown = await nursery.start(partial(serve_monitor, files, port=0))
        await trio.to_thread.run_sync(work, shown)
        nursery.cancel_scope.cancel()


def main(folder: Path = FOLDER) -> None:
    """Write them all into ``folder``."""
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory() as made:
        fab, story = Path(made) / "fab.jsonl", Path(made) / "etcher-3.jsonl"
        record_fab(fab)
        record_story(story)
        browser = open_browser(Path(made) / "browser")
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "UTC"})
        try:
            trio.run(_serve, [fab, story], partial(take, browser, folder))
        finally:
            browser.quit()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

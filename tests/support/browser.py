"""Chromium without a window, for tests of pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.support.tools import needs


def open_browser(folder: Path) -> Chrome:
    """A browser that keeps what it keeps in ``folder``, and finds no machine but this one.

    Skips the running test where it is not installed. The caller quits it.
    """
    for program in ("chromium", "chromedriver"):
        needs(program)
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in (
        "headless=new",
        "no-sandbox",  # root has none
        "disable-dev-shm-usage",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"user-data-dir={folder}",
    ):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


def seen_as(
    browser: Chrome, width: int, media: str = "screen", scheme: str = "light", height: int = 900
) -> None:
    """Show pages as on a screen of that size, on paper, or in the dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def asked_for(browser: Chrome) -> list[str]:
    """The addresses that pages have asked for since the last call."""
    # As `get_log` does, which has no types.
    log = browser.execute("getLog", {"type": "performance"})["value"]
    events = [json.loads(each["message"])["message"] for each in log]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def complaints(browser: Chrome) -> list[str]:
    """What the console of the browser says since the last call."""
    return [each["message"] for each in browser.execute("getLog", {"type": "browser"})["value"]]

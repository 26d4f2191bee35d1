"""The page of the doors for threads and for asyncio, asked as a browser does."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hsms_engine import aio, blocking
from hsms_engine.monitor import MonitorServer
from hsms_engine.recording import line_of
from tests.support.doors import trio_at_rest
from tests.support.leaks import leak_check
from tests.support.recorded import SOME

__all__ = ["leak_check", "trio_at_rest"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tool.jsonl"
    path.write_text("".join(map(line_of, SOME)), encoding="utf-8")
    return path


def names(shown: MonitorServer) -> list[str]:
    """Enter, and ask for all links."""
    place = urlsplit(shown.url)
    browser = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        browser.request("POST", "/enter", shown.token)
        entered = browser.getresponse()
        cookie = (entered.getheader("Set-Cookie") or "").partition(";")[0]
        assert (entered.status, entered.read()) == (204, b"")
        browser.request("GET", "/api/links", headers={"Cookie": cookie})
        told = json.loads(browser.getresponse().read())
        return [each["name"] for each in told["links"]]
    finally:
        browser.close()


def test_threads_have_a_page_until_the_block_ends(file: Path) -> None:
    with blocking.serve_monitor([file], port=0) as shown:
        token = shown.token
        assert names(shown) == ["tool-7"]
        # It was for one browser.
        assert shown.token != token
        port = urlsplit(shown.url).port
        with (
            pytest.raises(OSError, match="Address already in use"),
            blocking.serve_monitor([], port=port or 0),
        ):
            raise AssertionError("opened")
    with pytest.raises(ConnectionRefusedError):
        names(shown)


def test_asyncio_has_a_page_also_while_its_loop_is_blocked(file: Path) -> None:
    async def program() -> list[str]:
        async with aio.serve_monitor([file], port=0) as shown:
            # The loop is blocked meanwhile.
            return names(shown)

    assert asyncio.run(program()) == ["tool-7"]


def test_a_page_that_others_could_read_is_refused_in_every_door() -> None:
    with (
        pytest.raises(ValueError, match="needs tls="),
        blocking.serve_monitor([], "0.0.0.0", 0),
    ):
        raise AssertionError("opened")

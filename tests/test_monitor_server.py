"""The page to those that ask it: who may enter, what bytes may do, streams, and links that live.

The network is in memory and time jumps, but where sockets, threads and TLS are what is tested.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from hsms_engine import (
    HsmsLink,
    Message,
    Settings,
    WrongLoopError,
    aio,
    blocking,
    open_link,
)
from hsms_engine.driver.tcp import listen_tcp
from hsms_engine.driver.tls_files import TlsFiles
from hsms_engine.errors import SettingsError
from hsms_engine.monitor import MonitorServer, feed, serve_monitor, shown
from hsms_engine.monitor import serve as serving
from hsms_engine.monitor.errors import RefusedError
from hsms_engine.monitor.guard import Guard
from hsms_engine.monitor.http import Request
from hsms_engine.recording import head, line_of
from hsms_engine.virtual import Socket
from statecharts.hsms import CHARTS
from tests.support.blocking_peer import trio_rests
from tests.support.certificates import dialling, issued, listening, write
from tests.support.h11_browser import HOST, PORT, Browser, Reply, site
from tests.support.leaks import engine_tasks, leak_check
from tests.support.pair import Switchboard, server_end
from tests.support.patience import PATIENCE
from tests.support.raw_peer import data
from tests.support.recorded import SOME
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "virtual_time"]

ALWAYS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
SECRET = (
    "/api/links",
    "/api/events",
    "/api/link/0-0",
    "/api/link/0-0/messages",
    "/pictures/breaker.svg",
    "/no/such/path",
)


def has_all(reply: Reply) -> bool:
    """Whether a response has what each must have, once."""
    return ALWAYS.items() <= dict(reply.headers).items() and len(dict(reply.headers)) == len(
        reply.headers
    )


async def closed(stream: trio.abc.Stream) -> bytes:
    """All that still comes, until the server closes."""
    data = b""
    while piece := await stream.receive_some(65_536):
        data += piece
    return data


async def is_dropped(stream: trio.abc.Stream) -> None:
    """Raise unless the server has closed this connection."""
    # What comes for it is answered by a reset.
    with suppress(trio.BrokenResourceError):
        await stream.send_all(b"x")
    await trio.sleep(0.01)
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")


# Who may enter


async def test_a_token_is_good_for_once() -> None:
    entered: list[str] = []
    async with site(entered=entered.append) as page:
        first = page.shown.token
        assert page.shown.link == f"{page.shown.url}#token={first}"
        assert first not in repr(page.shown)
        browser = await page.browser()
        reply = await browser.enter(first)
        assert (reply.status, reply.body, has_all(reply)) == (204, b"", True)
        assert reply.header("Content-Length") is None
        cookie = reply.header("Set-Cookie") or ""
        name, _, rest = cookie.partition("=")
        value, *attributes = rest.split("; ")
        assert name == f"hsms_monitor_{PORT}"
        assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
        assert len(value) >= 32
        assert entered == [page.shown.token]
        assert value not in (first, page.shown.token)
        # The next browser needs the next token.
        other = await page.browser()
        reply = await other.enter(first)
        assert reply.status == 403
        assert reply.error.startswith("this is not the token, or it was used")
        assert trio.current_time() == 1.0
        assert (await other.ask("/api/links")).status == 401
        assert (await other.enter(f" {page.shown.token}\n")).status == 204
        # Both are in, each by its own cookie.
        assert other.cookie != browser.cookie
        for each in (browser, other):
            assert (await each.ask("/api/links")).status == 200


@pytest.mark.parametrize("token", ["", "wrong", "\xff\x00", "x" * 1_024])
async def test_a_wrong_token_is_answered_after_a_pause(token: str) -> None:
    async with site() as page:
        reply = await (await page.browser()).ask("/enter", "POST", token.encode("latin-1"))
        assert (reply.status, reply.header("Set-Cookie")) == (403, None)
        assert trio.current_time() == 1.0


async def test_wrong_tokens_at_a_time_are_few_and_hold_nobody_up() -> None:
    async with site() as page:
        browsers = [await page.browser() for _ in range(9)]
        for each in browsers[:8]:
            await each.send("/enter", "POST", b"wrong")
        await wait_all_tasks_blocked()
        reply = await browsers[8].ask("/enter", "POST", b"wrong")
        assert (reply.status, trio.current_time()) == (429, 0.0)
        await page.browser(enters=True)
        assert trio.current_time() == 0.0
        assert [(await each.reply()).status for each in browsers[:8]] == [403] * 8
        assert trio.current_time() == 1.0
        # Who leaves meanwhile takes no place.
        await browsers[0].send("/enter", "POST", b"wrong")
        await wait_all_tasks_blocked()
        await browsers[0].stream.aclose()
        assert (await browsers[1].ask("/enter", "POST", b"wrong")).status == 403


async def test_the_first_of_too_many_browsers_enters_again() -> None:
    async with site() as page:
        browsers = []
        for _ in range(65):
            browser = await page.browser(enters=True)
            await browser.stream.aclose()
            browsers.append(browser.cookie)
        again = await page.browser()
        statuses = []
        for again.cookie in browsers[:2] + browsers[-1:]:
            statuses.append((await again.ask("/api/links")).status)
        assert statuses == [401, 200, 200]


async def test_without_its_cookie_a_browser_sees_only_what_holds_no_secret() -> None:
    async with site() as page:
        entered = await page.browser(enters=True)
        browser = await page.browser()
        name, _, value = entered.cookie.partition("=")
        wrong = ("", "a=b", f"{name}=", f"{name}=x", f"{name}x={value}", value, f"{name}={value}x")
        for browser.cookie in wrong:
            for path in SECRET:
                reply = await browser.ask(path)
                assert (reply.status, has_all(reply)) == (401, True)
                assert reply.error == "enter with the token that was printed at the start"
        for browser.cookie in (f"a=b; {entered.cookie}", f"{entered.cookie};c=d", entered.cookie):
            assert (await browser.ask("/api/links")).status == 200


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?a=b", "text/html; charset=utf-8"),
        ("/monitor.js", "text/javascript; charset=utf-8"),
        ("/monitor.css", "text/css; charset=utf-8"),
    ],
)
async def test_the_page_itself_is_for_everyone(path: str, kind: str) -> None:
    async with site() as page:
        reply = await (await page.browser()).ask(path)
        assert (reply.status, reply.header("Content-Type"), has_all(reply)) == (200, kind, True)
        assert page.shown.token.encode() not in reply.body
        assert len(reply.body) > 1_000


# From where they ask


@pytest.mark.parametrize(
    "host",
    [HOST, f"localhost:{PORT}", f"LocalHost:{PORT}", f"[::1]:{PORT}", f"127.1.2.3:{PORT}"],
)
async def test_a_browser_that_means_this_server_is_answered(host: str) -> None:
    async with site() as page:
        browser = Browser(await page.dial(), host=host)
        assert (await browser.ask("/")).status == 200
        own = f"http://{host}".upper() if host == HOST else f"http://{host}"
        assert (await browser.ask("/", Origin=own)).status == 200
        assert (await browser.ask("/", Sec_Fetch_Site="same-origin")).status == 200
        assert (await browser.ask("/", Sec_Fetch_Site="none")).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        f"evil.example:{PORT}",
        f"127.0.0.1.evil.example:{PORT}",
        f"localhost.evil.example:{PORT}",
        f"evil.example#127.0.0.1:{PORT}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:80",
        f"127.0.0.1:{PORT + 1}",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        f"10.0.0.1:{PORT}",
        f"0.0.0.0:{PORT}",
        f"[::2]:{PORT}",
        f"[::1:{PORT}",
        f"user@127.0.0.1:{PORT}",
        f"@127.0.0.1:{PORT}",
        f"a:b@127.0.0.1:{PORT}",
        f"{HOST}/x",
        f"{HOST}?x",
        f"{HOST}#x",
        f":{PORT}",
        f"localhost.:{PORT}",
    ],
)
async def test_a_browser_that_means_another_server_is_refused(host: str) -> None:
    async with site() as page:
        cookie = (await page.browser(enters=True)).cookie
        for path in ("/", "/api/links"):
            reply = await Browser(await page.dial(), cookie, host).ask(path)
            assert (reply.status, has_all(reply)) == (421, True)
            assert reply.error == f"{host!r} is no name of this server"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": f"https://{HOST}"},
        {"Origin": f"http://localhost:{PORT}"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": f"http://{HOST}/"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_page_of_another_server_may_not_ask(headers: dict[str, str]) -> None:
    async with site() as page:
        browser = await page.browser(enters=True)
        token = page.shown.token
        for path, method in (("/", "GET"), ("/api/links", "GET"), ("/enter", "POST")):
            await browser.send(path, method, token.encode(), headers)
            reply = await browser.reply()
            assert (reply.status, has_all(reply)) == (403, True)
            assert reply.error == "a page of another server may not ask"
        assert page.shown.token == token


@pytest.mark.parametrize("twice", ["host: 127.0.0.1:8037", "Origin: null", "Cookie: a=b"])
async def test_what_decides_who_asks_is_there_once(twice: str) -> None:
    async with site() as page:
        stream = await page.dial()
        lines = ["GET / HTTP/1.1", f"Host: {HOST}", f"Origin: http://{HOST}", "Cookie: c=d", twice]
        await stream.send_all("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        answer = await closed(stream)
        # h11 itself takes no second Host.
        assert answer.startswith(b"HTTP/1.1 400 " if "host" in twice else b"HTTP/1.1 421 ")


def guard(port: int, *, is_secure: bool) -> Guard:
    return Guard(port, is_secure=is_secure, sleep=trio.sleep, entered=lambda _: None)


def asked(host: str, **headers: str) -> Request:
    return Request("GET", "/", {}, {"host": host, **headers}, b"", True)


@pytest.mark.parametrize(
    ("port", "is_secure", "host", "is_ours"),
    [
        (80, False, "127.0.0.1", True),
        (80, False, "127.0.0.1:80", True),
        (80, False, "", False),
        (443, True, "127.0.0.1", True),
        (443, True, "plant.example", True),
        (443, True, "", False),
        (443, False, "127.0.0.1", False),
        (80, True, "plant.example", False),
        (8037, True, "plant.example:8037", True),
        (8037, True, "plant.example", False),
        (8037, True, "user@plant.example:8037", False),
        (8037, True, ":8037", False),
    ],
)
def test_a_host_without_port_means_that_of_its_scheme(
    port: int, is_secure: bool, host: str, is_ours: bool
) -> None:
    made = guard(port, is_secure=is_secure)
    scheme = "https" if is_secure else "http"
    for request in (asked(host), asked(host, origin=f"{scheme}://{host}")):
        if is_ours:
            made.check_origin(request)
        else:
            with pytest.raises(RefusedError) as caught:
                made.check_origin(request)
            assert caught.value.status == 421
    assert made.refused == (0 if is_ours else 2)


# What bytes may do


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"])
async def test_it_is_read_only(method: str) -> None:
    async with site() as page:
        browser = await page.browser(enters=True)
        for path in ("/", "/monitor.js", "/api/links", "/nothing"):
            reply = await browser.ask(path, method)
            assert (reply.status, reply.error, has_all(reply)) == (405, "it is read only", True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_one_enters_with_post(method: str) -> None:
    async with site() as page:
        token = page.shown.token
        reply = await (await page.browser()).ask("/enter", method, token.encode())
        assert (reply.status, page.shown.token) == (405, token)


async def test_a_tunnel_is_none() -> None:
    async with site() as page:
        reply = await (await page.browser()).ask(HOST, "CONNECT")
        assert reply.status == 405


async def test_an_offer_of_another_protocol_is_passed_over() -> None:
    async with site() as page:
        browser = await page.browser()
        reply = await browser.ask("/", Upgrade="websocket", Connection="Upgrade")
        assert reply.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/links/",
        "/api/link",
        "/api/link/0-0/nothing",
        "/api/link/0-0/messages/1",
        "/pictures/",
        "/pictures/nothing.svg",
        "/pictures/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "/static/monitor.js",
        "/monitor.html",
        "/%00",
        "/%ff",
        "/" + "x" * 8_000,
    ],
)
async def test_what_is_not_there_is_told(path: str) -> None:
    async with site() as page:
        reply = await (await page.browser(enters=True)).ask(path)
        assert (reply.status, has_all(reply)) == (404, True)
        assert reply.error.startswith("there is no ")


@pytest.mark.parametrize(
    "path", ["/", "/api/links", "/api/link/9-9", "/api/events", "/pictures/breaker.svg"]
)
async def test_a_head_is_the_response_without_its_body(path: str) -> None:
    async with site() as page:
        browser = await page.browser(enters=True)
        whole = await browser.ask(path, "HEAD")
        assert (whole.body, has_all(whole)) == (b"", True)
        browser = Browser(await page.dial(), browser.cookie)
        await browser.send(path)
        reply = await browser.head()
        assert reply.status == whole.status
        # Where they are all that can differ: the time, and how a stream is framed.
        names = {name for name, _ in reply.headers} - {"transfer-encoding"}
        assert names == {name for name, _ in whole.headers} - {"transfer-encoding"}


async def test_each_chart_has_a_picture() -> None:
    async with site() as page:
        browser = await page.browser(enters=True)
        for chart in CHARTS:
            reply = await browser.ask(f"/pictures/{chart.id}.svg")
            assert (reply.status, reply.header("Content-Type")) == (200, "image/svg+xml")
            assert b"<svg" in reply.body


def test_pictures_are_those_of_the_package_where_it_has_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "breaker.svg").write_text("<svg/>", encoding="utf-8")
    monkeypatch.setattr(serving, "files", lambda _: tmp_path)
    assert serving._pictures.__wrapped__() == {"breaker": b"<svg/>"}


REFUSED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/x\r\nHost: a\r\n\r\n", 400),
    (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"HEAD http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"CONNECT http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /?" + b"a=b&" * 40 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST /enter HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n" + b"x" * 1_025, 413),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n" + b"x" * 1_025, 413),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"200\r\n" + b"x" * 512 + b"\r\n200\r\n" + b"x" * 512 + b"\r\n1\r\nx\r\n0\r\n\r\n",
        413,
    ),
    (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 30_000 + b"\r\n\r\n", 431),
    (b"GET /" + b"x" * 20_000, 431),
]


@pytest.mark.parametrize(("data", "status"), REFUSED)
@pytest.mark.parametrize("is_second", [False, True])
async def test_what_is_no_request_is_refused_and_ends_its_connection_only(
    data: bytes, status: int, is_second: bool
) -> None:
    async with site() as page:
        browser = await page.browser()
        if is_second:
            assert (await browser.ask("/monitor.css", "HEAD")).status == 200
        await browser.stream.send_all(data)
        answer = await closed(browser.stream)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        for name, value in ALWAYS.items():
            assert f"{name}: {value}".lower() in answer.decode().lower()
        if not data.startswith(b"HEAD"):
            assert json.loads(answer.partition(b"\r\n\r\n")[2]).keys() == {"error"}
        assert (await (await page.browser()).ask("/")).status == 200


PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"HEAD /api/events HTTP/1.1\r\n",
        b"POST /enter HTTP/1.1\r\n",
        b"GET /api/events HTTP/1.0\r\n",
        f"Host: {HOST}\r\n".encode(),
        b"Host: \xff\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"\r\n",
        b"\n\n",
        b"\x00",
    ]
)


@given(pieces=st.lists(PIECES | st.binary(max_size=20), max_size=12))
def test_no_bytes_end_more_than_their_connection(pieces: list[bytes]) -> None:
    async def check() -> None:
        async with site() as page:
            stream = await page.dial()
            await stream.send_all(b"".join(pieces))
            await stream.send_eof()
            await closed(stream)
            await stream.aclose()
            assert (await (await page.browser()).ask("/")).status == 200

    trio.run(check, clock=MockClock(autojump_threshold=0))


async def test_requests_in_one_piece_are_answered_in_their_order() -> None:
    async with site() as page:
        stream = await page.dial()
        asked = b"".join(
            f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
            for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/api/links"))
        )
        await stream.send_all(asked)
        await stream.send_eof()
        answer = await closed(stream)
        statuses = [each[:3] for each in answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"200", b"200", b"401"]


async def test_who_waits_to_send_a_body_is_told_to_go_on() -> None:
    async with site() as page:
        stream = await page.dial()
        token = page.shown.token.encode()
        lines = ("POST /enter HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(token)}")
        await stream.send_all("\r\n".join([*lines, "Expect: 100-continue", "", ""]).encode())
        assert (await stream.receive_some(9_999)).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(token)
        assert (await stream.receive_some(9_999)).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n"])
async def test_a_request_that_does_not_come_is_waited_for_30_seconds(data: bytes) -> None:
    async with site() as page:
        stream = await page.dial()
        began = trio.current_time()
        for byte in data:
            await trio.sleep(1)
            await stream.send_all(bytes([byte]))
            if trio.current_time() - began >= 30:
                break
        assert await closed(stream) == b""
        assert trio.current_time() - began == 30


async def test_who_says_no_more_is_answered_and_then_left() -> None:
    async with site() as page:
        stream = await page.dial()
        await stream.send_all(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        answer = await closed(stream)
        assert answer.startswith(b"HTTP/1.1 200 ")
        # It may still speak, for a second.
        await stream.send_all(b"x" * 10_000)
        await trio.sleep(1.5)
        await is_dropped(stream)


async def test_the_66th_connection_waits_for_its_turn() -> None:
    async with site() as page:
        first = await page.browser(enters=True)
        browsers = []
        for _ in range(64):
            browsers.append(Browser(await page.dial(), first.cookie))
            assert (await browsers[-1].ask("/api/links")).status == 200
        assert (await first.ask("/api/links")).status == 200
        late = await page.browser()
        await late.send("/monitor.css")
        await wait_all_tasks_blocked()
        await browsers[0].stream.aclose()
        assert (await late.reply()).status == 200
        assert trio.current_time() < 1


async def test_who_has_not_entered_takes_the_place_of_nobody_else() -> None:
    async with site() as page:
        entered = await page.browser(enters=True)
        assert (await entered.ask("/api/links")).status == 200
        await entered.send("/api/events")
        # Some say nothing, some are answered what all are, some are slow.
        silent = [await page.browser() for _ in range(300)]
        for each in silent[::3]:
            with suppress(trio.BrokenResourceError):
                await each.stream.send_all(b"GET / HTT")
        late = await page.browser()
        assert (await late.enter(page.shown.token)).status == 204
        assert (await late.ask("/api/links")).status == 200
        assert trio.current_time() < 1
        await is_dropped(silent[0].stream)
        assert (await entered.head()).status == 200


# Streams


async def test_a_stream_tells_what_changes() -> None:
    board = Switchboard()
    async with live_link(board, connect_timeout=100.0) as link, site(link) as page:
        browser = await page.browser(enters=True)
        await browser.send("/api/events?link=0-0")
        reply = await browser.head()
        assert (reply.status, reply.header("Content-Type")) == (200, "text/event-stream")
        assert has_all(reply)
        name, found = await browser.told()
        while not found["links"]:
            name, found = await browser.told()
        assert (name, found["gone"]) == ("links", [])
        assert [(each["key"], each["state"]) for each in found["links"]] == [("0-0", "connecting")]
        name, found = await browser.told()
        assert (name, found["row"]["key"], found["is_live"]) == ("link", "0-0", True)
        # Nothing happens until TCP is there: a sign of life each 10 seconds.
        began = trio.current_time()
        assert [await browser.told() for _ in range(2)] == [("", None)] * 2
        assert 19 < trio.current_time() - began <= 21


@asynccontextmanager
async def live_link(board: Switchboard, **changes: Any) -> AsyncIterator[HsmsLink]:
    """A link that dials into silence."""
    board.hang()
    settings = Settings(host="tool", port=5_000, name="tool-7").replace(**changes)
    async with open_link(settings, dial=board.dial) as link:
        yield link


async def test_a_closed_tab_has_its_place_free_at_once() -> None:
    async with site() as page:
        entered = await page.browser(enters=True)
        tabs = [Browser(await page.dial(), entered.cookie) for _ in range(33)]
        for each in tabs[:32]:
            await each.send("/api/events")
            assert (await each.head()).status == 200
        reply = await tabs[32].ask("/api/events")
        assert (reply.status, reply.error) == (503, "too many pages are open")
        began = trio.current_time()
        # By a close, by an end of what it sends, and by a reset.
        await tabs[0].stream.aclose()
        half_closed = tabs[1].stream
        assert isinstance(half_closed, trio.abc.HalfCloseableStream)
        await half_closed.send_eof()
        reset = tabs[2].stream
        assert isinstance(reset, Socket)
        reset.reset()
        await trio.sleep(0.01)
        for each in tabs[30:33]:
            each.stream, each.http = await page.dial(), h11.Connection(h11.CLIENT)
            await each.send("/api/events")
            assert (await each.head()).status == 200
        assert trio.current_time() - began < 0.25


async def test_what_is_sent_beside_a_stream_is_not_read() -> None:
    async with site() as page:
        browser = await page.browser(enters=True)
        await browser.send("/api/events")
        await browser.head()
        await browser.stream.send_all(b"GET / HTTP/1.1\r\n\r\n" * 5_000)
        name, _ = await browser.told()
        assert name == "links"


async def test_who_takes_nothing_is_dropped_after_5_seconds_and_delays_nobody(
    tmp_path: Path,
) -> None:
    path = tmp_path / "many.jsonl"
    links = [line_of(SOME[1]).replace('"link":1', f'"link":{number}') for number in range(300)]
    path.write_text(line_of(head(0.0, 0.0, "a")) + "".join(links), encoding="utf-8")
    async with site(path, room=20_000) as page:
        entered = await page.browser(enters=True)
        while (await entered.ask("/api/links")).object["sources"][0]["read"] < 1:
            pass
        deaf = [Browser(await page.dial(), entered.cookie) for _ in range(3)]
        began = trio.current_time()
        for each, asked in zip(deaf, ("/api/events", "/api/links", "/monitor.js"), strict=True):
            await each.send(asked)
        for _ in range(3):
            assert (await entered.ask("/monitor.css")).status == 200
        assert trio.current_time() - began < 1
        await trio.sleep_until(began + 4.9)
        for each in deaf:
            await each.stream.send_all(b"x")
        await trio.sleep_until(began + 5.3)
        for each in deaf:
            await is_dropped(each.stream)


async def test_a_tab_that_breaks_while_it_is_told_something_ends_alone(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    links = [line_of(SOME[1]).replace('"link":1', f'"link":{number}') for number in range(300)]
    path.write_text(line_of(head(0.0, 0.0, "a")) + "".join(links), encoding="utf-8")
    async with site(path, room=20_000) as page:
        entered = await page.browser(enters=True)
        tab = await page.dial()
        await trio.sleep(1)
        await Browser(tab, entered.cookie).send("/api/events")
        await trio.sleep(1)
        # What is read from it and what is sent to it break at once.
        tab.reset()
        assert (await entered.ask("/api/links")).status == 200


async def test_the_end_of_the_page_leaves_no_task_and_follows_no_link() -> None:
    board = Switchboard()
    async with live_link(board) as link, site(link) as page:
        driver = link._driver
        before = (len(driver.watchers), len(driver.failures))
        browser = await page.browser(enters=True)
        await browser.send("/api/events?link=0-0")
        await browser.head()
        assert before != (0, 0)
        page.ended.cancel()
        await is_dropped(browser.stream)
        await wait_all_tasks_blocked()
        assert [each for each in engine_tasks() if "monitor" in each] == []
        # With its next step nothing follows it.
        board.answers.set()
        await wait_all_tasks_blocked()
        assert (len(driver.watchers), len(driver.failures)) == (0, 0)


# What is shown


async def test_files_that_change_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(map(line_of, SOME)), encoding="utf-8")
    async with site(path) as page:
        browser = await page.browser(enters=True)
        while (await browser.ask("/api/links")).object["sources"][0]["read"] < 1:
            pass
        assert (await browser.ask("/api/link/0-0/messages")).status == 200
        path.unlink()
        reply = await browser.ask("/api/link/0-0/messages")
        assert (reply.status, "No such file" in reply.error) == (503, True)
        path.write_text("", encoding="utf-8")
        reply = await browser.ask("/api/link/0-0/messages")
        assert reply.status == 503
        assert reply.error.endswith("start the monitor again")


async def test_a_link_that_is_added_beside_files_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(map(line_of, SOME)), encoding="utf-8")
    async with live_link(Switchboard()) as link, site(path) as page:
        browser = await page.browser(enters=True)
        await trio.sleep(1)
        found = (await browser.ask("/api/links")).object
        assert [each["name"] for each in found["sources"]] == ["a.jsonl"]
        page.shown.add(link)
        await trio.sleep(1)
        found = (await browser.ask("/api/links")).object
        assert [each["name"] for each in found["sources"]] == ["a.jsonl", "live"]
        assert [(each["key"], each["state"]) for each in found["links"]] == [
            ("0-0", None),
            ("1-0", "connecting"),
        ]


async def test_a_page_of_nothing_has_a_program_without_links() -> None:
    async with site() as page:
        found = (await (await page.browser(enters=True)).ask("/api/links")).object
        assert [each["kind"] for each in found["sources"]] == ["live"]
        assert found["links"] == []


# Links that live


async def rows(browser: Browser) -> list[Any]:
    """The rows of the overview, when all that was told until now is there."""
    await trio.sleep(0.5)
    found: list[Any] = (await browser.ask("/api/links")).object["links"]
    return found


async def test_links_and_connections_come_change_and_go() -> None:
    async with server_end(name="line-3") as (server, listener), site(server) as page:
        browser = await page.browser(enters=True)
        assert await rows(browser) == []
        peer = await listener.raw("10.0.0.9:1")
        (row,) = await rows(browser)
        assert (row["server"], row["peer"], row["role"]) == ("line-3", "10.0.0.9:1", "passive")
        assert (row["phase"], row["is_gone"]) == ("not selected", False)
        await peer.select()
        assert [each["phase"] for each in await rows(browser)] == ["selected"]
        await peer.close()
        assert [each["is_gone"] for each in await rows(browser)] == [True]
    # What was gone before is not followed.
    assert trio.current_time() < 10


async def test_a_link_can_be_shown_from_its_beginning() -> None:
    board = Switchboard()
    board.hang()
    async with site() as page:
        browser = await page.browser(enters=True)
        async with open_link(host="tool", dial=board.dial, record=page.shown) as link:
            assert [each["state"] for each in await rows(browser)] == ["connecting"]
        assert [each["is_gone"] for each in await rows(browser)] == [True]
        page.shown.add(link)
        assert len(await rows(browser)) == 1
        page.ended.cancel()
        await wait_all_tasks_blocked()
        # It is over: what is added is not kept.
        async with open_link(host="tool", dial=board.dial) as link:
            page.shown.add(link)
            assert link._driver.watchers == []
    with pytest.raises(TypeError, match="'x' is no link, connection or server"):
        page.shown.add("x")  # type: ignore[arg-type]  # not every caller uses a type checker


async def test_what_a_mask_leaves_is_all_that_is_shown() -> None:
    def mask(message: Message) -> bytes | None:
        return None if message.function == 3 else b"\x41\x03***"

    async with server_end() as (server, listener), site(server, mask=mask) as page:
        browser = await page.browser(enters=True)
        peer = await listener.raw()
        await peer.select()
        for function in (1, 3):
            await peer.send(data(1, function, 7, body=b"\x41\x06secret"))
        await rows(browser)
        reply = await browser.ask("/api/link/0-0/messages?filter=S*F*")
        assert b"secret" not in reply.body
        assert [(each["name"], each["body"], each["sml"]) for each in reply.object["messages"]] == [
            ("S1F3", "left out", None),
            ("S1F1", "masked", '<A "***">'),
        ]


async def test_what_is_told_faster_than_it_is_taken_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "_MOST", 5)
    async with server_end() as (server, listener), site(server) as page:
        browser = await page.browser(enters=True)
        peer = await listener.raw()
        await peer.select()
        for _ in range(20):
            await peer.send(data(1, 1, 7))
        found = await rows(browser)
        assert len(found) == 1
        about = (await browser.ask("/api/links")).object
        assert about["counts"]["lost"] >= 15
        assert about["sources"][0]["notes"] == [
            "records are missing: they came faster than they were taken"
        ]


async def test_a_budget_is_kept() -> None:
    async with server_end() as (server, listener), site(server, budget=20_000) as page:
        browser = await page.browser(enters=True)
        peer = await listener.raw()
        await peer.select()
        for _ in range(50):
            await peer.send(data(1, 1, 7, body=b"\x41\xff" + b"x" * 255))
        await rows(browser)
        found = (await browser.ask("/api/link/0-0/messages?count=500")).object["messages"]
        assert 1 < len(found) < 30
        assert (await browser.ask("/api/links")).object["counts"]["forgotten"] > 20


def shown_by(door: str) -> list[Any]:
    """The rows of a page that shows a link of another door, and its server."""
    found: list[Any] = []

    async def page(*watched: Any) -> None:
        async with real(*watched) as (shown, browser):
            while not all(each["phase"] == "selected" for each in found) or len(found) < 2:
                await trio.sleep(0.01)
                found[:] = (await browser.ask("/api/links")).object["links"]
            assert shown.url.startswith("http://127.0.0.1:")

    def serve(connection: blocking.HsmsConnection) -> None:
        for _ in connection:
            pass

    async def serve_aio(connection: aio.HsmsConnection) -> None:
        async for _ in connection:
            pass

    async def main() -> None:
        async with (
            aio.serve_hsms(serve_aio, "127.0.0.1", 0) as server,
            aio.open_link("127.0.0.1", server.port) as link,
        ):
            await link.wait_selected()
            await asyncio.to_thread(trio.run, page, link, server)

    if door == "aio":
        asyncio.run(main())
    else:
        with (
            blocking.serve_hsms(serve, "127.0.0.1", 0) as server,
            blocking.open_link("127.0.0.1", server.port) as link,
        ):
            link.wait_selected(PATIENCE)
            trio.run(page, link, server)
    return found


@pytest.mark.parametrize("door", ["aio", "blocking"])
def test_links_of_other_doors_are_shown(door: str) -> None:
    found = shown_by(door)
    trio_rests()
    assert {each["role"] for each in found} == {"active", "passive"}


@asynccontextmanager
async def real(*watched: Any, tls: Any = None) -> AsyncIterator[tuple[MonitorServer, Browser]]:
    """A page on loopback, and a browser that has entered."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_monitor, watched, port=0, tls=tls)
        shown: MonitorServer = await nursery.start(serve)
        host = shown.url.partition("//")[2].rstrip("/")
        stream: trio.abc.Stream = await trio.open_tcp_stream(*_host_and_port(host))
        if tls is not None:
            stream = trio.SSLStream(
                stream, dialling(), server_hostname="127.0.0.1", https_compatible=True
            )
        browser = Browser(stream, host=host)
        reply = await browser.enter(shown.token)
        assert reply.status == 204
        assert (reply.header("Set-Cookie") or "").endswith("; Secure") == (tls is not None)
        yield shown, browser
        await stream.aclose()
        nursery.cancel_scope.cancel()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


# Where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "tool.example", "", "127.0.0.1 "])
async def test_other_machines_need_a_certificate(host: str) -> None:
    with pytest.raises(ValueError, match="is reached by other machines, so the page needs tls="):
        await serve_monitor([], host)


@pytest.mark.parametrize("is_context", [False, True])
def test_with_a_certificate_it_speaks_tls(tmp_path: Path, is_context: bool) -> None:
    files = write(tmp_path, issued("tool", "127.0.0.1"))
    tls = (
        listening(clients_of=None)
        if is_context
        else TlsFiles(certificate=files.certificate, key=files.key)
    )

    async def check() -> None:
        async with real(tls=tls) as (shown, browser):
            assert shown.url.startswith("https://127.0.0.1:")
            assert (await browser.ask("/api/links")).status == 200
            # Who does not speak TLS is left alone, and disturbs nobody.
            async with await trio.open_tcp_stream(*_host_and_port(browser.host)) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                with suppress(trio.BrokenResourceError):
                    await closed(stream)
            assert (await browser.ask("/api/links")).status == 200

    trio.run(check)


async def test_a_handshake_that_does_not_come_is_waited_for_10_seconds() -> None:
    async with site(tls=listening(clients_of=None)) as page:
        stream = await page.dial()
        began = trio.current_time()
        assert await closed(stream) == b""
        assert trio.current_time() - began == 10


async def test_a_certificate_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        await serve_monitor([], port=0, tls=TlsFiles(certificate=tmp_path / "none.pem"))


async def test_what_cannot_begin_follows_no_link(tmp_path: Path) -> None:
    board = Switchboard()
    async with live_link(board) as link:
        occupied = await listen_tcp("127.0.0.1", 0)
        for watched, port, error in (
            ([link, tmp_path / "no.jsonl"], 0, FileNotFoundError),
            ([link, 7], 0, TypeError),
            ([link], occupied.port, OSError),
        ):
            with pytest.raises(error):
                await serve_monitor(watched, port=port)  # type: ignore[arg-type]  # 7 is nothing to watch
        occupied.close()
        board.answers.set()
        await wait_all_tasks_blocked()
        assert link._driver.watchers == []


def test_it_needs_trio() -> None:
    with pytest.raises(WrongLoopError, match=r"serve_monitor\(\)"):
        asyncio.run(serve_monitor([]))


async def test_a_defect_of_the_page_ends_one_connection_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_end() as (server, listener), site(server) as page:
        browser = await page.browser(enters=True)
        peer = await listener.raw()
        await peer.select()
        assert len(await rows(browser)) == 1

        def spoilt(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(shown, "row", spoilt)
        with pytest.raises(h11.RemoteProtocolError):
            await browser.ask("/api/links")
        monkeypatch.undo()
        assert "a page of links has a defect, and its links go on:" in caplog.text
        assert "ZeroDivisionError" in caplog.text
        again = Browser(await page.dial(), browser.cookie)
        assert len((await again.ask("/api/links")).object["links"]) == 1
        await peer.ping()


async def test_a_defect_in_what_follows_links_ends_no_link(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoilt(_: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(feed, "record_of", spoilt)
    async with server_end() as (server, listener), site(server) as page:
        peer = await listener.raw()
        await peer.select()
        await trio.sleep(1)
        assert "ZeroDivisionError" in caplog.text
        await peer.ping()
        assert (await (await page.browser(enters=True)).ask("/api/links")).status == 200

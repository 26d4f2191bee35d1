"""``hsms-engine monitor``, and ``--monitor PORT`` of the commands that talk."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import Message, cli, open_hsms
from hsms_engine.driver.tcp import listen_tcp
from hsms_engine.messages import S1F1
from hsms_engine.recording import FrameRecord, head, line_of, parts_of, read
from tests.support.certificates import dialling, issued, write
from tests.support.h11_browser import Browser
from tests.support.recorded import SOME

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

from tests.test_cli import HOST, Lines, connect, equipment_here, errors_of, one_line, started

OPENED = re.compile(
    r"to see what happens, open (?P<url>(?P<scheme>https?)://(?P<host>.*)/)#token=(?P<token>\S+)\n"
)
ENTERED = re.compile(
    r"a browser has entered; another one enters at (?P<url>.*)#token=(?P<token>\S+)\n"
)
SCENARIO = """\
[scenario]
name = "hello"
role = "host"

[[step]]
expect = "S1F1"
within = 300
"""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "tool-7.jsonl"
    path.write_text("".join(map(line_of, SOME)), encoding="utf-8")
    return path


class Errors:
    """The lines of standard error, one by one."""

    def __init__(self, lines: Lines) -> None:
        assert lines.process.stderr is not None
        self._stream = lines.process.stderr
        self._rest = b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            more = await self._stream.receive_some()
            assert more, self._rest
            self._rest += more
        line, end, self._rest = self._rest.partition(b"\n")
        return (line + end).decode()


async def entered(errors: Errors) -> Browser:
    """A browser that has entered where standard error says."""
    opened = OPENED.fullmatch(await errors.next())
    assert opened is not None
    host, _, port = opened["host"].rpartition(":")
    stream: trio.abc.Stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    if opened["scheme"] == "https":
        stream = trio.SSLStream(
            stream, dialling(), server_hostname="127.0.0.1", https_compatible=True
        )
    browser = Browser(stream, host=opened["host"])
    assert (await browser.enter(opened["token"])).status == 204
    # The next one is told, once.
    again = ENTERED.fullmatch(await errors.next())
    assert again is not None
    assert (again["url"], again["token"] == opened["token"]) == (opened["url"], False)
    return browser


@asynccontextmanager
async def shown(*words: object) -> AsyncIterator[tuple[Lines, Browser]]:
    """A program, and a browser that has entered its page."""
    async with started(*words) as lines:
        browser = await entered(Errors(lines))
        yield lines, browser
        await browser.stream.aclose()


async def when(browser: Browser, holds: Any) -> Any:
    """The overview, when it is as wanted."""
    while True:
        found = (await browser.ask("/api/links")).object
        if holds(found):
            return found
        # Not a measurement: it asks again when others had their turn.
        await trio.sleep(0.01)


async def test_recordings_are_shown_until_it_is_stopped(recording: Path, tmp_path: Path) -> None:
    # A part of a recording whose last part is not there is one too.
    part = tmp_path / "old.jsonl.1"
    part.write_text(line_of(head(0.0, 0.0, "b")), encoding="utf-8")
    words = ("monitor", recording, tmp_path / "old.jsonl", "--port", 0)
    async with shown(*words) as (lines, browser):
        assert browser.host.startswith("127.0.0.1:")
        found = await when(
            browser, lambda found: all(each["read"] == 1 for each in found["sources"])
        )
        assert [each["name"] for each in found["sources"]] == ["tool-7.jsonl", "old.jsonl"]
        assert [each["name"] for each in found["links"]] == ["tool-7"]
        assert (await browser.ask("/api/link/0-0/messages")).status == 200
        # With a stream that is open.
        await browser.send("/api/events")
        assert (await browser.head()).status == 200
        lines.process.send_signal(signal.SIGINT)
        assert await lines.process.wait() == 0
        assert await lines.rest() == ""
        assert await errors_of(lines) == ""


@pytest.mark.parametrize("is_one_file", [False, True])
async def test_with_a_certificate_it_speaks_tls(
    recording: Path, tmp_path: Path, is_one_file: bool
) -> None:
    files = write(tmp_path, issued("tool", HOST))
    words = ["monitor", recording, "--host", HOST, "--port", 0, "--tls-certificate"]
    if is_one_file:
        both = tmp_path / "both.pem"
        both.write_bytes(
            (tmp_path / "end.pem").read_bytes() + (tmp_path / "end-key.pem").read_bytes()
        )
        words.append(both)
    else:
        words += [files.certificate, "--tls-key", files.key]
    async with shown(*words) as (_, browser):
        assert (await browser.ask("/api/links")).status == 200


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["no.jsonl"], "there is no file no.jsonl"),
        (["a.jsonl", "no/such/folder.jsonl"], "cannot read no/such/folder.jsonl: No such file or "),
        (["x" * 5_000], f"cannot read {'x' * 5_000}: File name too long"),
        (["a.jsonl", "--tls-key", "k.pem"], "--tls-key is the key of a --tls-certificate: give "),
        (["a.jsonl", "--tls-certificate", "no.pem"], "no.pem"),
        (["a.jsonl", "--tls-certificate", "a.jsonl"], "a.jsonl"),
        (["a.jsonl", "--host", "0.0.0.0"], "--host 0.0.0.0 is reached by other machines, so "),
        (["a.jsonl", "--host", "tool.example"], "--host tool.example is reached by other "),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(
    words: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").touch()
    assert cli.main(["monitor", *words]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert why in one_line(errors)
    assert errors.startswith("hsms-engine monitor: ")


async def test_an_address_that_is_taken_is_told(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = await listen_tcp(HOST, 0)
    try:
        words = [str(recording), "--port", str(occupied.port)]
        code = await trio.to_thread.run_sync(cli.main, ["monitor", *words])
    finally:
        occupied.close()
    assert code == 1
    assert one_line(capsys.readouterr().err) == (
        f"hsms-engine monitor: cannot show a page on {HOST}:{occupied.port}: Address already in use"
    )


def test_a_file_that_goes_meanwhile_is_told(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serving = import_module("hsms_engine.monitor.serve")

    def gone(path: Path) -> list[Path]:
        path.unlink()
        return [path]

    monkeypatch.setattr(serving, "parts_of", gone)
    assert cli.main(["monitor", str(recording), "--port", "0"]) == 1
    assert one_line(capsys.readouterr().err) == (
        f"hsms-engine monitor: cannot read {recording}: No such file or directory"
    )


# h11


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the page is imported anew, and put back afterwards."""
    import_module("hsms_engine.monitor")
    for name in [*sys.modules]:
        if name.startswith("hsms_engine.monitor"):
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("words", [["monitor"], ["listen", HOST, "0", "--monitor", "0"]])
def test_without_h11_it_says_what_to_install(
    words: list[str],
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    assert cli.main([*words, *([str(recording)] if words == ["monitor"] else [])]) == 1
    assert one_line(capsys.readouterr().err) == (
        f"hsms-engine {words[0]}: hsms_engine.monitor needs h11, which is not installed: in the "
        'folder of the source, pip install ".[monitor]"'
    )


@pytest.mark.usefixtures("anew")
def test_what_else_is_missing_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hsms_engine.monitor.feed", None)
    with pytest.raises(ModuleNotFoundError, match=r"hsms_engine\.monitor\.feed"):
        import_module("hsms_engine.monitor")


# Commands that talk


def is_selected(found: Any) -> bool:
    return [each["phase"] for each in found["links"] if not each["is_gone"]] == ["selected"]


async def test_listen_and_fake_show_their_connections(tmp_path: Path) -> None:
    for command in (["listen", HOST, 0], ["fake", "--port", 0]):
        file = tmp_path / f"{command[0]}.jsonl"
        words = (*command, "--json", "--monitor", 0, "--record", file)
        async with shown(*words) as (lines, browser):
            where = await lines.until("listening")
            async with open_hsms(HOST, where["port"]) as connection:
                await connection.request(S1F1())
                (row,) = (await when(browser, is_selected))["links"]
                assert row["role"] == "passive"
                found = (await browser.ask("/api/link/0-0/messages?filter=S1F*")).object
                assert {each["name"] for each in found["messages"]} <= {"S1F1", "S1F2"}
            await when(browser, lambda found: found["links"][0]["is_gone"])
            await browser.stream.aclose()
            lines.process.send_signal(signal.SIGTERM)
            assert await lines.process.wait() == 0
            assert await errors_of(lines) == ""
        # What is recorded too is the same.
        names = [each for each in read(parts_of(file)) if isinstance(each, FrameRecord)]
        assert len(names) >= 4


@pytest.mark.parametrize("records", [False, True])
async def test_connect_shows_its_connection(tmp_path: Path, records: bool) -> None:
    more = ["--record", tmp_path / "a.jsonl"] if records else []
    # It waits for a reply until it is stopped.
    async with equipment_here("drop-replies") as equipment:
        words = ("connect", HOST, equipment.port, "--send", "S1F1", "--monitor", 0, *more)
        async with shown(*words) as (lines, browser):
            (row,) = (await when(browser, is_selected))["links"]
            assert row["role"] == "active"
            lines.process.send_signal(signal.SIGINT)
            assert await lines.process.wait() == 130
    assert (tmp_path / "a.jsonl").exists() == records


@pytest.mark.parametrize("listens", [False, True])
async def test_run_shows_the_side_that_it_plays(tmp_path: Path, listens: bool) -> None:
    scenario = tmp_path / "hello.toml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    async with equipment_here() as equipment:
        port = 0 if listens else equipment.port
        words = ["run", scenario, HOST, port, "--json", "--monitor", 0]
        async with shown(*words, *(["--listen"] if listens else [])) as (lines, browser):
            if listens:
                where = json.loads(await lines.next())
                async with open_hsms(HOST, where["port"], is_equipment=True) as connection:
                    await when(browser, is_selected)
                    await connection.send(Message(1, 1))
                return
            (row,) = (await when(browser, is_selected))["links"]
            assert row["role"] == "active"


async def test_a_page_that_cannot_be_is_told_before_anything_begins() -> None:
    occupied = await listen_tcp(HOST, 0)
    try:
        async with equipment_here() as equipment:
            code, out, errors = await connect(equipment.port, "--monitor", occupied.port)
    finally:
        occupied.close()
    assert (code, out) == (1, "")
    assert "cannot show a page on" in one_line(errors)

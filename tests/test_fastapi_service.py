"""The FastAPI example of the cookbook, with its client and with a real server, over a real link."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from queue import SimpleQueue

import pytest
import uvicorn
from fastapi.testclient import TestClient

from examples.fastapi_service import create_app, plain, service
from hsms_engine import AbortedError, Message, Settings, blocking
from hsms_engine.fake import serve_fake
from hsms_engine.fake.threaded import ThreadedEquipment, run_in_thread
from hsms_engine.messages import S1F1, S1F2, S1F13, S1F14, S5F1, S5F2, S6F11, S6F12
from tests.support.patience import PATIENCE


@pytest.fixture
def equipment() -> Iterator[ThreadedEquipment]:
    with run_in_thread(serve_fake) as equipment:
        yield equipment


def link_settings(equipment: ThreadedEquipment, t3: float = 120) -> Settings:
    """It comes back at once, and its breaker never opens."""
    return Settings(
        host=equipment.host,
        port=equipment.port,
        t3=t3,
        t5=0.01,
        breaker_threshold=1000,
        allow_short_timers=True,
    )


@contextmanager
def client_of(equipment: ThreadedEquipment, t3: float = 120) -> Iterator[TestClient]:
    """A client of the service; the link is selected."""
    with TestClient(create_app(link_settings(equipment, t3))) as client:
        until(lambda: client.get("/link").json()["is_selected"])
        yield client


def until(seen: Callable[[], bool]) -> None:
    """Ask until it is so; each time is a request, which takes its time."""
    for _ in range(100_000):
        if seen():
            return
    pytest.fail("it never came")


def test_the_state_and_the_counts_of_the_link(equipment: ThreadedEquipment) -> None:
    with client_of(equipment) as client:
        told = client.get("/link").json()
        assert told["peer"] == f"{equipment.host}:{equipment.port}"
        assert told["statistics"]["phase"] == "selected"
        assert told["statistics"]["counts"]["frames_received"] == 1
    equipment.until(lambda: equipment.counts["ended"] == 1)


def test_a_message_in_sml_gets_its_reply_in_sml(equipment: ThreadedEquipment) -> None:
    equipment.answer(lambda _: S1F2("etcher", "1.0"))
    with client_of(equipment) as client:
        reply = client.post("/messages", content="S1F1 W .")
        assert (reply.status_code, Message.parse(reply.text)) == (200, S1F2("etcher", "1.0"))
        none = client.post("/messages", content="S6F25 <A 'no reply'> .")
        assert (none.status_code, none.text) == (204, "")
        equipment.until(lambda: len(equipment.received) == 2)


@pytest.mark.parametrize(
    ("sml", "status", "error"),
    [
        (b"S1F1 W <", 400, "SmlError"),
        (b"", 400, "SmlError"),
        (b"\xff", 400, "UnicodeDecodeError"),
        (b"S1F2 .", 422, "LocalProtocolError"),
        (b"S1F1 W .", 504, "ReplyTimeoutError"),
        (b"S1F3 W .", 502, "AbortedError"),
        (b"S1F5 W .", 502, "DecodeError"),
    ],
)
def test_an_error_has_its_status_and_its_sentence(
    equipment: ThreadedEquipment, sml: bytes, status: int, error: str
) -> None:
    replies = {3: Message(1, 0), 5: Message(1, 6, body=b"\xff")}
    equipment.answer(lambda message: replies[message.function])
    is_late = error == "ReplyTimeoutError"
    if is_late:
        equipment.behave("drop-replies=1")
    with client_of(equipment, 0.01 if is_late else 120) as client:
        got = client.post("/messages", content=sml)
        assert (got.status_code, got.json()["error"]) == (status, error), got.text
        assert got.json()["detail"]
        assert "Retry-After" not in got.headers
        assert client.get("/link").json()["is_selected"]


def test_while_the_tool_is_away_the_client_is_told_when_to_come_again(
    equipment: ThreadedEquipment,
) -> None:
    with client_of(equipment) as client:
        equipment.kill()
        until(lambda: not client.get("/link").json()["is_selected"])
        got = client.post("/messages", content="S1F1 W .")
        assert (got.status_code, got.json()["error"]) == (503, "LinkDownError")
        assert int(got.headers["Retry-After"]) >= 1
        equipment.restart()
        until(lambda: client.get("/link").json()["is_selected"])


def test_what_the_tool_asks_is_answered() -> None:
    got: SimpleQueue[Message | None] = SimpleQueue()

    def tool(conn: blocking.HsmsConnection) -> None:
        conn.send(Message(6, 25))
        for message in (S1F1(), S1F13("etcher", "1"), S5F1(0x81, 1, "hot"), S6F11(1, 1, {})):
            got.put(conn.request(message))
        try:
            conn.request(Message(2, 99, wait=True))
        except AbortedError:
            got.put(None)
        list(conn)

    with blocking.serve_hsms(tool, port=0) as server:
        settings = Settings(host="127.0.0.1", port=server.port)
        with TestClient(create_app(settings)):
            replies = [got.get(timeout=PATIENCE) for _ in range(5)]
    assert replies == [S1F2(), S1F14(), S5F2(), S6F12(), None]


def test_what_json_has_no_word_for() -> None:
    assert plain(math.inf) is None
    assert plain(1.5) == 1.5
    assert plain(ValueError("why")) == "why"
    assert plain(S1F1()) == "<Message S1F1 W>"


def test_the_service_reads_its_link_from_a_file(
    equipment: ThreadedEquipment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = tmp_path / "links.toml"
    only = f'[link.etcher]\nhost = "{equipment.host}"\nport = {equipment.port}\n'
    monkeypatch.setenv("HSMS_LINKS", str(links))
    for text in (only, f"{only}[link.other]\nport = 1\n"):
        links.write_text(text, encoding="utf-8")
        with TestClient(service()) as client:
            assert client.get("/link").json()["peer"] == f"{equipment.host}:{equipment.port}"
        # One of several is named.
        monkeypatch.setenv("HSMS_LINK", "etcher")


# A client that goes away, which needs a real server


@contextmanager
def running(settings: Settings) -> Iterator[Callable[[], HTTPConnection]]:
    """The service under uvicorn. Its end waits for every open answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create_app(settings), ws="none", log_config=None))
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        try:
            yield lambda: HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def get_link(connect: Callable[[], HTTPConnection]) -> dict[str, object]:
    with closing(connect()) as client:
        client.request("GET", "/link")
        told: dict[str, object] = json.load(client.getresponse())["statistics"]
        return told


def next_event(response: HTTPResponse) -> tuple[str, dict[str, object]]:
    name, data, end = (response.readline().decode() for _ in range(3))
    assert end == "\n"
    return name.removeprefix("event: ").strip(), json.loads(data.removeprefix("data: "))


def test_the_events_are_a_stream_that_ends_when_the_client_goes_away(
    equipment: ThreadedEquipment,
) -> None:
    with running(link_settings(equipment)) as connect, closing(connect()) as client:
        client.request("GET", "/link/events")
        response = client.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [next_event(response) for _ in range(3)]
        assert [name for name, _ in events] == ["Connecting", "Selecting", "Selected"]
        assert events[0][1]["attempt"] == 1
        equipment.kill()
        name, data = next_event(response)
        assert name == "Waiting"
        assert isinstance(data["error"], str)
        # Both hold the socket.
        response.close()


def test_a_client_that_goes_away_abandons_its_transaction_only(
    equipment: ThreadedEquipment,
) -> None:
    equipment.behave("drop-replies=1")
    with running(link_settings(equipment)) as connect:
        until(lambda: get_link(connect)["phase"] == "selected")
        with closing(connect()) as client:
            client.request("POST", "/messages", "S1F1 W .")
            equipment.until(lambda: equipment.counts["dropped"] == 1)
            assert get_link(connect)["open_transactions"] == 1
        until(lambda: get_link(connect)["open_transactions"] == 0)
        assert get_link(connect)["times_selected"] == 1

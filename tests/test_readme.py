"""What the README says can be run as it stands there."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from hsms_engine import Message, Settings, blocking, bounds
from tests.support.blocking_peer import listening
from tests.support.patience import PATIENCE
from tests.support.raw_peer import data, separate_req

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_program_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    def equipment(connection: blocking.HsmsConnection) -> None:
        for primary in connection:
            reply = Message(primary.stream, primary.function + 1, item=["MDLN", "1.0"])
            connection.reply(primary, reply)

    with blocking.serve_hsms(equipment, port=0) as server:
        assert PROGRAMS[0].count(", 5000,") == 1
        exec(PROGRAMS[0].replace(", 5000,", f", {server.port},"), {})
    printed = capsys.readouterr().out
    assert "S1F14" in printed
    assert printed.endswith("L(A('MDLN'), A('1.0'))\n")


def test_the_host_of_the_readme_survives_a_tool_that_reboots_before_its_reply() -> None:
    definitions, opens, _ = PROGRAMS[1].partition('\nwith open_link("127.0.0.1", 5000)')
    assert opens
    names: dict[str, Any] = {}
    exec(definitions, names)
    quick: dict[str, Any] = {"t5": 0.001, "linger": 0.001, "allow_short_timers": True}
    with listening() as tool:
        selected = tool.select()
        with blocking.open_link("127.0.0.1", tool.port, **quick) as link:
            # A primary of a connection that is over before the program takes it.
            peer = selected.result(PATIENCE)
            peer.send(data(6, 11, 1, wait=True))
            peer.ping()
            selected = tool.select()
            peer.send(separate_req(2))
            peer.close()
            peer = selected.result(PATIENCE)
            running = threading.Thread(target=names["run"], args=[link])
            running.start()
            asked = peer.frame()
            assert (asked.byte2, asked.byte3) == (0x81, 13)
            peer.send(data(1, 14, asked.system), data(6, 13, 2), data(5, 1, 3, wait=True))
            peer.expect(data(5, 2, 3))
            peer.close()
        running.join(PATIENCE)
        assert not running.is_alive()


def test_the_class_of_the_guide_starts_and_stops() -> None:
    (program,) = (
        each for each in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "ExitStack" in each
    )
    with blocking.serve_hsms(list, port=0) as server:
        events = server.events()
        names: dict[str, Any] = {}
        exec(program.replace('"10.1.2.3", 5000', f'"127.0.0.1", {server.port}'), names)
        tool = names["Tool"]()
        tool.start()
        tool.link.wait_selected(timeout=PATIENCE)
        tool.stop()
        ended = next(each for each in events if type(each).__name__ == "PeerEnded")
    assert "separated" in str(ended)


def seconds_of(page: str, title: str) -> list[float]:
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [float(seconds) for seconds in re.findall(r"\| ([\d.]+) s \|", section)]


def test_the_bounds_of_the_documents_are_those_of_the_default_settings() -> None:
    settings = Settings()
    known = [each.seconds for each in bounds.table(settings)]
    assert seconds_of(GUIDE, "How long until the link is back") == pytest.approx(known)
    assert f"[{settings.recovery_bound().seconds:.1f} s](docs/guide.md#" in README


# The first screen


FIRST_SCREEN = README.partition("\n## ")[0]
TRUST = re.findall(r"^\* \[([^]]*\d[^]]*)\]\(([^)#]+)#([^)]+)\)", FIRST_SCREEN, re.MULTILINE)


def section(page: str, anchor: str) -> str:
    """The text below the title that has this anchor."""
    parts = re.split(r"^## (.*)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    return texts[next(each for each in texts if each.lower().replace(" ", "-") == anchor)]


def test_the_first_screen_is_one_screen() -> None:
    # What is seen: the picture stands beside the text, and of a link there are its words.
    seen = re.sub(r"<img [^>]*>\n|\]\([^)]*\)", "", FIRST_SCREEN)
    lines = seen.strip().splitlines()
    assert len(lines) <= 45
    assert [each for each in lines if len(each) > 100] == []


@pytest.mark.parametrize(("claim", "page", "anchor"), TRUST)
def test_a_figure_of_the_first_screen_is_in_the_page_it_links(
    claim: str, page: str, anchor: str
) -> None:
    missing = [
        each for each in re.findall(r"\d[\d,.]*\d", claim) if each not in section(page, anchor)
    ]
    assert missing == []


def test_the_first_screen_has_all_its_figures() -> None:
    assert len(TRUST) == 5

"""The page of a monitor in a browser: links live and in recordings, time travel, keyboard only."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

import pytest
import trio
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

import hsms_engine.monitor
from hsms_engine import HsmsConnection, Message, open_link, serve_hsms
from hsms_engine.events import Waiting
from hsms_engine.lease import MemoryStore
from hsms_engine.messages import S1F1, S1F13
from hsms_engine.monitor import MonitorServer, Watched, serve_monitor
from hsms_engine.recording import ChartState, ErrorRecord, LinkRecord, Record, head, line_of
from tests.simulation.plan import make_plan
from tests.support import monitor_pictures
from tests.support.browser import asked_for, complaints, open_browser, seen_as
from tests.support.monitor_story import BEGAN, record_story
from tests.support.patience import PATIENCE
from tests.support.recordings import link, said, written
from tests.support.recordings_read import recording_of
from tests.support.tools import needs

T = TypeVar("T")

STATIC = Path(hsms_engine.monitor.__file__).parent / "static"
FILES = [STATIC / f"monitor.{kind}" for kind in ("html", "js", "css")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = open_browser(tmp_path_factory.mktemp("browser"))
    driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "UTC"})
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("story") / "etcher-3.jsonl"
    record_story(path)
    return path


class Page:
    """The page in a browser, in which the server of the same event loop is seen."""

    def __init__(self, browser: Chrome, shown: MonitorServer) -> None:
        self.browser = browser
        self.shown = shown

    async def do(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work)

    async def enter(self, place: str = "") -> None:
        """Come with the token, then go to ``place``."""
        await self.do(partial(self.browser.get, "about:blank"))
        await self.do(partial(self.browser.get, self.shown.link))
        await self.until("return $('connection').dataset.state === 'connected'")
        if place:
            await self.run("location.hash = arguments[0]", place)
            await self.until("return detail !== null && line !== null")

    async def run(self, script: str, *given: object) -> Any:
        return await self.do(lambda: self.browser.execute_script(script, *given))

    async def until(self, script: str, *given: object) -> None:
        """Wait until ``script`` returns something true."""
        wait = WebDriverWait(self.browser, PATIENCE, poll_frequency=0.05)
        await self.do(
            lambda: wait.until(lambda it: it.execute_script(script, *given), f"never: {script}")
        )

    async def click(self, name: str) -> None:
        await self.run("document.querySelector(arguments[0]).click()", name)

    async def press(self, *keys: str) -> None:
        """Keys, for whatever has the focus."""
        await self.do(ActionChains(self.browser).send_keys(*keys).perform)

    async def texts(self, name: str) -> list[str]:
        every = "return [...document.querySelectorAll(arguments[0])].map(it => it.textContent)"
        return list(await self.run(every, name))

    async def lit(self, chart: str) -> set[str]:
        """The states that are lit in the picture of a chart."""
        script = "return [...document.querySelectorAll(arguments[0])].map(it => it.dataset.name)"
        return set(await self.run(script, f"[data-chart={chart}] .lit"))

    async def type(self, name: str, text: str) -> None:
        await self.run(
            "const it = document.querySelector(arguments[0]); it.value = arguments[1];"
            "it.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            text,
        )


@asynccontextmanager
async def page_of(
    browser: Chrome, watched: Sequence[Watched], place: str = "", width: int = 1400
) -> AsyncIterator[Page]:
    async with trio.open_nursery() as nursery:
        shown = await nursery.start(partial(serve_monitor, watched, port=0))
        page = Page(browser, shown)
        await page.do(partial(seen_as, browser, width))
        await page.do(partial(complaints, browser))
        await page.do(partial(asked_for, browser))
        await page.enter(place)
        yield page
        await page.do(partial(browser.get, "about:blank"))
        nursery.cancel_scope.cancel()


OUT = f"link=0-0&at={BEGAN + 60}"


# The files


def test_the_page_is_small() -> None:
    assert sum(each.stat().st_size for each in FILES) <= 150_000


def test_the_page_needs_nothing_from_elsewhere() -> None:
    addresses = [
        address
        for each in FILES
        for address in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\"'\s]*", each.read_text("utf-8"))
    ]
    assert set(addresses) == {"http://www.w3.org/2000/svg"}


def test_the_page_has_no_script_and_no_style_in_its_text() -> None:
    text = FILES[0].read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?! src)", text) == []
    program = FILES[1].read_text(encoding="utf-8")
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", program) == []
    )


def test_the_program_of_the_page_is_javascript() -> None:
    needs("node")
    done = subprocess.run(
        ["node", "--check", str(FILES[1])], check=False, capture_output=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_pictures_of_the_documents_are_taken(tmp_path: Path) -> None:
    for program in ("chromium", "chromedriver"):
        needs(program)
    monitor_pictures.main(tmp_path)
    taken = {each.stem for each in tmp_path.glob("*.png")}
    assert all(each.read_bytes()[1:4] == b"PNG" for each in tmp_path.glob("*.png"))
    text = (monitor_pictures.FOLDER.parent / "monitor.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(monitor/(\w+)\.png\)", text)) == taken
    kept = list(monitor_pictures.FOLDER.iterdir())
    assert {each.stem for each in kept} == taken
    assert sum(each.stat().st_size for each in kept) < 600_000


# Live


async def answer(host: HsmsConnection) -> None:
    while True:
        primary = await host.receive()
        await host.reply(primary, Message(1, primary.function + 1))


async def test_a_link_is_killed_in_front_of_the_page(browser: Chrome) -> None:
    async with trio.open_nursery() as nursery:
        alive = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[object]) -> None:
            with alive:
                await serve_hsms(answer, "127.0.0.1", 0, task_status=task_status)

        tool = await nursery.start(serve)
        async with (
            open_link("127.0.0.1", tool.port, name="etcher-3", linktest_interval=None) as link,
            page_of(browser, [link]) as page,
        ):
            events = link.events()
            await link.wait_selected()
            await page.until("return document.querySelector('#links-body .is-selected') !== null")
            await page.click("#links-body a")
            await page.until("return document.querySelector('.lit[data-name=communicating]')")
            assert await page.lit("breaker") == {"breaker_closed"}
            await link.request(S1F13())
            await page.until("return messages.items.size === 4")
            alive.cancel()
            async for event in events:
                if isinstance(event, Waiting):
                    break
            assert isinstance(event, Waiting)
            await page.until("return document.querySelector('.lit[data-name=waiting]')")
            assert await page.lit("connection_active") == {"waiting"}
            marked = (
                "return document.querySelectorAll('[data-chart=connection_active] .last').length"
            )
            assert await page.run(marked) >= 2
            # When and why.
            assert str(event.error) in await page.run("return $('facts').textContent")
            assert "waiting" in await page.run("return $('last-step').textContent")
            assert "in " in await page.run("return $('facts').textContent")
            await page.until("return $('announce').textContent === 'etcher-3 is waiting'")
            # The timer of the pause runs down between events.
            left = (await page.texts("#timers .left"))[0]
            await page.until(
                "return document.querySelector('#timers .left').textContent !== arguments[0]", left
            )
            await page.click("#tab-events")
            await page.until("return $('events').textContent.includes('Waiting')")
        nursery.cancel_scope.cancel()


async def test_who_owns_a_tool_is_seen_and_who_stands_by(browser: Chrome) -> None:
    """Two processes, which are two links here, and one tool."""
    store = MemoryStore(60)
    first, second = (store.lease("TOOL-7", f"host-{each}") for each in "ab")
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(partial(serve_hsms, answer, "127.0.0.1", 0))
        opened = partial(open_link, "127.0.0.1", tool.port, linktest_interval=None, t5=1)
        async with opened(name="a", lease=first) as one:
            await one.wait_selected()
            async with (
                opened(name="b", lease=second) as two,
                page_of(browser, [one, two]) as page,
            ):
                await page.until(
                    "return rows.size === 2 && [...rows.values()].every(it => it.lease)"
                )
                owner = "td[data-is=owner]"
                await page.until(
                    "return document.querySelector('#links-body').innerText.includes('standby')"
                )
                texts = [each.partition(", ")[0] for each in await page.texts(owner)]
                assert texts == ["this process \u2068host-a\u2069", "standby of \u2068host-a\u2069"]
                # Words of it are found, as all others.
                await page.type("#links-filter", "standby host-a")
                assert await page.texts("#links-body a") == ["b"]
                await page.click("#links-body a")
                await page.until(
                    "return document.querySelector('[data-chart=lease] .lit[data-name=standby]')"
                )
                assert await page.lit("lease") == {"standby"}
                assert "Ownerstandby of \u2068host-a\u2069" in await page.run(
                    "return $('facts').textContent"
                )
                await page.click("#tab-events")
                await page.until("return $('events').textContent.includes('owner: host-a')")
                await page.until("return line.lease.length > 0")
                assert "lease standby" in await page.texts("#legend li")
                # It takes over, and every chart shows it.
                one.disable()
                await two.wait_selected()
                await page.until(
                    "return document.querySelector('[data-chart=lease] .lit[data-name=settled]')"
                )
                await page.until("return $('facts').textContent.includes('Ownerthis process (')")
                assert await page.lit("lease") == {"settled"}
                await page.until("return line.lease.at(-1).state === 'owner'")
                assert not await page.do(partial(complaints, browser))
        nursery.cancel_scope.cancel()


async def test_without_a_lease_there_is_no_column_for_it(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story]) as page:
        await page.until("return rows.size === 1")
        shown = "return getComputedStyle(document.querySelector('[data-is=owner]')).display"
        assert await page.run(shown) == "none"


async def test_messages_come_while_one_looks(browser: Chrome) -> None:
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(partial(serve_hsms, answer, "127.0.0.1", 0))
        async with (
            open_link("127.0.0.1", tool.port, linktest_interval=None) as link,
            page_of(browser, [link]) as page,
        ):
            await link.wait_selected()
            await link.request(S1F13())
            await page.until("return rows.size === 1")
            await page.click("#links-body a")
            await page.until("return messages.items.size === 4")
            await page.click("#messages details")
            await page.run("window.first = document.querySelector('#messages li')")
            for _ in range(3):
                await link.request(S1F1())
            await page.until("return messages.items.size === 10")
            # What was there is the same as before, and where it was.
            assert await page.run("return $('messages').children[6] === window.first")
            # In the past nothing comes.
            await page.run("goTo(detail.first + 0.000001)")
            await page.until("return messages.items.size < 10")
            await link.request(S1F1())
            await page.until("return detail.last > arguments[0]", 0)
            assert await page.run("return messages.items.size") < 10
            await page.click("#live")
            await page.until("return messages.items.size === 12")
        nursery.cancel_scope.cancel()


async def test_the_server_goes_and_comes_back(browser: Chrome, story: Path) -> None:
    async with trio.open_nursery() as nursery:
        alive = trio.CancelScope()

        async def serve(port: int, task_status: trio.TaskStatus[MonitorServer]) -> None:
            with alive:
                await serve_monitor([story], "127.0.0.1", port, task_status=task_status)

        shown = await nursery.start(serve, 0)
        page = Page(browser, shown)
        await page.enter(OUT)
        alive.cancel()
        await page.until("return $('connection').dataset.state === 'away'")
        assert "connecting again" in await page.run("return $('connection').textContent")
        alive = trio.CancelScope()
        port = int(shown.url.rstrip("/").rpartition(":")[2])
        page.shown = await nursery.start(serve, port)
        # It is another server, which knows no browser yet.
        await page.until("return !$('enter').hidden && document.activeElement === $('token')")
        await page.press("wrong", Keys.ENTER)
        await page.until("return $('enter-error').textContent.includes('token')")
        await page.run("$('token').value = ''; $('token').focus()")
        await page.press(page.shown.token, Keys.ENTER)
        await page.until("return $('connection').dataset.state === 'connected'")
        await page.until("return detail !== null && $('time-now').textContent.includes('08:01:00')")
        assert page.shown.token not in await page.run("return location.href + document.cookie")
        nursery.cancel_scope.cancel()


async def test_an_address_with_a_used_token_is_opened_again(browser: Chrome, story: Path) -> None:
    async with trio.open_nursery() as nursery:
        page = Page(browser, await nursery.start(partial(serve_monitor, [story], port=0)))
        address = page.shown.link
        await page.enter()
        await page.do(partial(browser.get, "about:blank"))
        await page.do(partial(browser.get, address))
        await page.until("return $('links-body').rows.length === 1 && $('enter').hidden")
        assert "token" not in await page.run("return location.href")
        await page.run("location.hash = arguments[0]", OUT)
        await page.until("return detail !== null && line !== null")
        await page.do(browser.delete_all_cookies)
        await page.click("#earlier")
        await page.until("return !$('enter').hidden && $('link').hidden")
        await page.do(partial(browser.get, "about:blank"))
        await page.do(partial(browser.get, address))
        await page.until("return $('enter-error').textContent !== ''")
        assert await page.run("return !$('enter').hidden")
        nursery.cancel_scope.cancel()


# Recordings


async def test_a_recording_is_seen_at_a_time_and_after_a_reload(
    browser: Chrome, story: Path
) -> None:
    async with page_of(browser, [story], OUT) as page:
        for _ in range(2):
            await page.until("return document.querySelector('.lit[data-name=waiting]') !== null")
            assert await page.lit("breaker") == {"breaker_open"}
            assert "08:00:55" in await page.run("return $('facts').textContent")
            assert "Connection refused" in await page.run("return $('facts').textContent")
            assert await page.texts("#timers li span:first-child") != []
            await page.do(browser.refresh)
            await page.until("return detail !== null && line !== null")
        holding = "return [...document.querySelectorAll('.holds')].map(it => it.dataset.name)"
        assert set(await page.run(holding)) == {"cluster_disconnected", "cluster_separation"}
        assert await page.run("return location.hash.includes('token')") is False
        assert await page.do(partial(complaints, browser)) == []
        asked = await page.do(partial(asked_for, browser))
        assert any("/pictures/breaker.svg" in each for each in asked)
        asked = [each for each in asked if each.startswith("http")]
        assert [each for each in asked if not each.startswith(page.shown.url)] == []


async def test_the_slider_travels_and_one_click_is_the_end_again(
    browser: Chrome, story: Path
) -> None:
    async with page_of(browser, [story], "link=0-0") as page:
        await page.until("return $('link-state').textContent.includes('closed')")
        assert await page.run("return $('live').getAttribute('aria-pressed')") == "true"
        await page.run("$('slider').focus()")
        await page.press(Keys.HOME)
        await page.until("return place.at === detail.first")
        await page.until("return messages.items.size === 0")
        await page.press(*[Keys.ARROW_RIGHT] * 3)
        await page.until("return $('link-state').textContent.includes('selected')")
        assert "08:00:00.384" in await page.run("return $('slider').getAttribute('aria-valuetext')")
        at = await page.run("return place.at")
        assert f"at={at}" in await page.run("return location.hash")
        # To the next change of a state, and to the one before.
        while (at := await page.run("return place.at")) < BEGAN + 40:
            await page.click("#later")
            await page.until("return place.at > arguments[0]", at)
        await page.until("return $('link-state').textContent.includes('connecting')")
        assert await page.run("return place.at === detail.row.since")
        # Twice: to the beginning of what was before, and of what was before that.
        await page.click("#earlier")
        await page.click("#earlier")
        await page.until("return $('link-state').textContent === 'selecting'")
        await page.click("#live")
        await page.until("return place.at === null && $('link-state').textContent === 'closed'")
        assert "at=" not in await page.run("return location.hash")


async def test_the_time_line_shows_states_and_messages_and_is_zoomed(
    browser: Chrome, story: Path
) -> None:
    async with page_of(browser, [story], OUT) as page:
        kinds = "return [...document.querySelectorAll('#timeline rect')].map(it => it.classList[1])"
        assert {"is-selected", "is-waiting", "is-breaker-open", "is-breaker-closed"} <= set(
            await page.run(kinds)
        )
        assert await page.run("return document.querySelectorAll('.tick-sent').length") > 5
        assert "waiting" in await page.run("return $('timeline-text').textContent")
        for _ in range(3):
            await page.click("#closer")
        await page.until("return view.to - view.from < 20 && line.from === view.from")
        assert await page.run("return view.from < place.at && place.at < view.to")
        assert "is-selected" not in set(await page.run(kinds))
        await page.click("#right")
        await page.until("return line.from === view.from && line.from > arguments[0]", BEGAN + 59)
        await page.click("#whole")
        await page.until("return line.to - line.from > 120")
        # Also with a mouse.
        await page.run("$('timeline').scrollIntoView()")
        pointed = (
            "const box = $('timeline').getBoundingClientRect();"
            "$('timeline').dispatchEvent(new PointerEvent('pointerdown', {buttons: 1,"
            "clientX: box.left + box.width / 4, clientY: box.top + 5}));"
            "return place.at"
        )
        assert BEGAN + 30 < await page.run(pointed) < BEGAN + 34


async def test_messages_are_filtered_folded_and_tied(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story], "link=0-0") as page:
        names = "return [...$('messages').children].map(it => it.dataset.name)"
        await page.until("return messages.items.size > 30")
        walls = [float(each) for each in await page.run(names.replace("name", "wall"))]
        assert walls == sorted(walls, reverse=True)
        await page.type("#filter-name", "S6F*")
        await page.until(f"{names}.every(it => it.startsWith('S6F')) && messages.items.size > 0")
        await page.run(
            "$('filter-direction').value = 'sent';"
            "$('filter-direction').dispatchEvent(new Event('input', {bubbles: true}))"
        )
        await page.until(f"{names}.every(it => it === 'S6F12') && messages.items.size > 0")
        await page.type("#filter-text", "LOT-0815")
        await page.until("return $('messages-none').textContent !== ''")
        await page.type("#filter-name", "S6F11")
        await page.run("$('filter-direction').value = ''")
        await page.type("#filter-text", "LOT-08")
        await page.until(f"{names}.every(it => it === 'S6F11') && messages.items.size > 0")
        folded = "return document.querySelector('#messages pre').textContent"
        assert await page.run(folded) == ""
        await page.click("#unfold")
        await page.until(f"{folded}.includes('\\n')")
        await page.type("#filter-text", "")
        await page.type("#filter-name", "")
        await page.until(
            "return new Set([...$('messages').children].map(it => it.dataset.name)).size > 5"
        )
        tie = "return [...document.querySelectorAll('[data-name=S1F2] .tie')].at(-1)"
        assert await page.run(f"{tie}.textContent") == "↩ S1F1 after 8.0 ms"
        await page.run(f"({tie.removeprefix('return ')}).click()")
        tied = "return [...document.querySelectorAll('.is-tied')].map(it => it.dataset.name)"
        assert await page.run(tied) == ["S1F2", "S1F1"]


async def test_a_wrong_filter_is_told_and_a_right_one_goes_on(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story], "link=0-0") as page:
        await page.until("return messages.items.size > 0")
        await page.type("#filter-name", "SxFy!")
        await page.until("return !$('problem').hidden || messages.items.size === 0")
        await page.type("#filter-name", "S1F13")
        await page.until("return messages.items.size === 2")
        assert await page.run("return $('problem').textContent") == ""


async def test_a_stretch_is_drawn_as_a_sequence_and_saved(
    browser: Chrome, story: Path, tmp_path: Path
) -> None:
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    async with page_of(browser, [story], f"{OUT}&tab=sequence") as page:
        await page.until("return !$('sequence-save').disabled")
        drawn = "\n".join(await page.texts("#sequence text"))
        for each in ("etcher-3", "Select.req", "S1F13 W", "communicating", "t6 linktest expired"):
            assert each in drawn
        # It ends at the time that is looked at.
        assert "08:01:16" not in drawn
        await page.click("#sequence-save")
        wait = WebDriverWait(browser, PATIENCE)
        saved = tmp_path / "etcher-3-080000.svg"
        await page.do(lambda: wait.until(lambda _: saved.exists()))
    root = ET.fromstring(saved.read_text(encoding="utf-8"))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "etcher-3" in texts


async def test_events_and_settings_have_their_tabs(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story], f"{OUT}&tab=events") as page:
        await page.until("return events.items.size > 3")
        first = (await page.texts("#events li"))[0]
        assert "Waiting" in first or "BreakerOpened" in first
        wrong = await page.texts("#events .is-wrong")
        assert set(wrong) == {"Waiting"}
        await page.click("#tab-settings")
        settings = await page.texts("#settings div")
        assert "breaker threshold2" in settings


async def test_charts_have_a_picture_when_one_wants_it(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story], OUT) as page:
        await page.until("return document.querySelector('[data-chart=linktest]') !== null")
        assert "unwatched" in (await page.texts("[data-chart=linktest] summary"))[0]
        assert await page.run("return document.querySelector('[data-chart=linktest] svg')") is None
        await page.click("[data-chart=linktest] summary")
        await page.until("return document.querySelector('[data-chart=linktest] svg') !== null")
        assert await page.lit("linktest") == {"unwatched"}
        # The overview shows the box in which it is.
        await page.run(
            "const it = document.querySelector('[data-chart=connection_active] select');"
            "it.value = 'connection_active'; it.dispatchEvent(new Event('change'))"
        )
        await page.until("return document.querySelector('.lit[data-name=disconnected]') !== null")


async def test_a_recording_without_states_is_looked_at(browser: Chrome, tmp_path: Path) -> None:
    # As a capture becomes one.
    path = written(tmp_path / "tool.jsonl", [link(), said(1.0, True, Message(1, 1, True), 1)])
    async with page_of(browser, [path], "link=0-0") as page:
        await page.until("return messages.items.size === 1")
        await page.until("return $('timeline-text').textContent.endsWith(': none is recorded.')")


async def test_a_seed_of_the_simulation_is_looked_at(browser: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "seed-12.jsonl"
    written = await trio.to_thread.run_sync(recording_of, make_plan(12))
    await trio.Path(path).write_text(written, encoding="utf-8")
    async with page_of(browser, [path]) as page:
        await page.until("return rows.size > 1 && sources.get(0).read === 1")
        for role in ("active", "passive"):
            places = "return [...rows.values()].filter(it => it.role === arguments[0])[0].key"
            await page.run("location.hash = `link=${arguments[0]}`", await page.run(places, role))
            lit = f"[data-chart=connection_{role}] .lit[data-name=closed]"
            await page.until("return document.querySelector(arguments[0]) !== null", lit)


# Of names, bodies and errors nothing is markup

EVIL = "<script>window.evil = 1</script><img src=x onerror=evil=1>"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    path = tmp_path / "<b>evil.jsonl"
    record_story(path, name=EVIL, words=EVIL)
    lines = path.read_text(encoding="utf-8").splitlines()
    told = json.loads(lines[-1])
    error = ErrorRecord(told["at"], told["wall"], 1, 2, EVIL, EVIL)
    lines.insert(-2, line_of(error).strip())
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return path


async def test_nothing_from_elsewhere_is_markup(browser: Chrome, evil: Path) -> None:
    async with page_of(browser, [evil]) as page:
        seen = "return $('main').textContent.includes(arguments[0])"
        found = "return [document.querySelectorAll('body script, body img, body b b').length, evil]"
        await page.until("return rows.size === 1 && rows.get('0-0').is_gone")
        assert await page.run(seen, EVIL)
        await page.run("location.hash = 'link=0-0'")
        for tab in ("events", "sequence", "settings", "messages"):
            await page.click(f"#tab-{tab}")
            await page.until("return $(`panel-${arguments[0]}`).textContent.length > 300", tab)
        await page.click("#unfold")
        await page.until("return $('messages').textContent.includes(arguments[0])", "<script>")
        assert EVIL in await page.run("return $('facts').textContent + $('link-name').textContent")
        assert await page.run(found.replace("evil]", "window.evil ?? 0]")) == [0, 0]
        assert await page.do(partial(complaints, browser)) == []


# Many links


def many_links(path: Path, count: int) -> Path:
    states = {
        "connection_active": ChartState("communicating", {}),
        "breaker": ChartState("breaker_closed", {"failures": 0}),
    }
    waiting = {**states, "connection_active": ChartState("waiting", {})}
    records: list[Record] = [head(0.0, BEGAN, "a1b2")]
    for number in range(count):
        name, now = f"tool-{number}", waiting if number % 100 == 7 else states
        peer = f"10.0.{number // 250}.{number % 250}:5000"
        records.append(LinkRecord(1.0, BEGAN + 1, number, 0, name, peer, "active", {}, now, {}))
    path.write_text("".join(map(line_of, records)), encoding="utf-8")
    return path


async def test_a_thousand_links_are_sorted_and_filtered(browser: Chrome, tmp_path: Path) -> None:
    async with page_of(browser, [many_links(tmp_path / "fab.jsonl", 1000)]) as page:
        await page.until("return $('links-body').rows.length === 1000")
        assert (await page.texts("#links-count")) == ["1000 links"]
        first = "return $('links-body').rows[0].cells[0].textContent"
        assert (await page.run(first)).startswith("tool-0")
        await page.click("#links-head [data-is=name] button")
        assert (await page.run(first)).startswith("tool-999")
        await page.click("#links-head [data-is=state] button")
        await page.click("#links-head [data-is=state] button")
        assert (await page.run(first)).startswith("tool-7")
        # Who is at a link stays there when it is moved.
        await page.run("$('links-body').rows[999].querySelector('a').focus()")
        held = "return document.activeElement.textContent"
        name = await page.run(held)
        await page.run("sortBy('name'); sortBy('name'); sortBy('state'); sortBy('state')")
        assert await page.run(held) == name
        sorts = "return document.querySelector('[data-is=state]').getAttribute('aria-sort')"
        assert await page.run(sorts) == "descending"
        await page.type("#links-filter", "TOOL-77 waiting")
        assert (await page.texts("#links-count")) == ["0 of 1000 links"]
        await page.type("#links-filter", "tool-77 selected")
        assert (await page.texts("#links-count")) == ["11 of 1000 links"]
        await page.type("#links-filter", "")
        await page.click("[data-phase=waiting]")
        assert await page.run("return $('links-body').rows.length") == 10
        assert await page.texts("#phases button") == ["990 selected", "10 waiting"]


# For everybody


async def test_all_is_done_with_keys_alone(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story]) as page:
        await page.until("return $('links-body').rows.length === 1")
        await page.press(Keys.TAB)
        assert await page.run("return document.activeElement.id") == "skip"
        await page.press(Keys.ENTER)
        assert await page.run("return document.activeElement.id") == "main"
        await tab_to(page, "document.activeElement.closest('#links-body') !== null")
        await page.press(Keys.ENTER)
        await page.until("return document.activeElement === $('link-name') && line !== null")
        await tab_to(page, "document.activeElement.id === 'slider'")
        await page.press(Keys.ARROW_LEFT)
        await page.until("return place.at !== null && place.at < detail.last")
        await tab_to(page, "document.activeElement.id === 'tab-messages'")
        await page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        await page.until("return document.activeElement.id === 'tab-sequence'")
        await page.until("return !$('panel-sequence').hidden && !$('sequence-save').disabled")
        await page.press(Keys.HOME)
        await page.until("return document.activeElement.id === 'tab-messages'")
        await page.until("return messages.items.size > 0")
        await tab_to(page, "document.activeElement.tagName === 'SUMMARY'")
        await page.press(Keys.ENTER)
        await page.until("return document.activeElement.parentElement.open")


async def tab_to(page: Page, where: str) -> None:
    """Go on by the tabulator until ``where`` holds; whatever has the focus shows it."""
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    for _ in range(80):
        await page.press(Keys.TAB)
        assert await page.run(outline) != "none"
        if await page.run(f"return {where}"):
            return
    raise AssertionError(f"never: {where}")


# Each control has a name, and no id is there twice.
NAMELESS = """
const name = it => it.getAttribute("aria-label") || it.labels?.[0]?.textContent || it.textContent;
const ids = [...document.querySelectorAll("[id]")].map(it => it.id);
return [
    ...[...document.querySelectorAll("button, input, select, a, summary")]
        .filter(it => !name(it).trim()).map(it => it.outerHTML.slice(0, 80)),
    ...ids.filter((it, index) => ids.indexOf(it) !== index),
];
"""


async def test_each_control_has_a_name(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story]) as page:
        assert await page.run(NAMELESS) == []
        await page.run("location.hash = arguments[0]", OUT)
        await page.until("return messages.items.size > 0")
        assert await page.run(NAMELESS) == []


async def test_a_narrow_window_is_enough(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story], width=400) as page:
        wide = "return document.documentElement.scrollWidth"
        await page.until("return $('links-body').rows.length === 1")
        assert await page.run(wide) <= 400
        for tab in ("messages", "events", "sequence", "settings"):
            await page.run("location.hash = arguments[0]", f"{OUT}&tab={tab}")
            await page.until("return $(`panel-${arguments[0]}`).textContent.length > 300", tab)
            assert await page.run(wide) <= 400, tab


DARK = """
const light = it => getComputedStyle(it)[arguments[0]].match(/[\\d.]+/g).slice(0, 3).map(Number);
return [...document.querySelectorAll(arguments[1])].map(light);
"""


async def test_in_the_dark_pictures_are_dark_too(browser: Chrome, story: Path) -> None:
    async with page_of(browser, [story], OUT) as page:
        await page.do(partial(seen_as, browser, 1400, scheme="dark"))
        ground = "[data-chart] svg > g > polygon"
        await page.until("return document.querySelector(arguments[0]) !== null", ground)
        await page.until("return matchMedia('(prefers-color-scheme: dark)').matches")
        assert max(map(max, await page.run(DARK, "fill", ground))) < 64
        assert max(map(max, await page.run(DARK, "backgroundColor", "body"))) < 64
        texts = await page.run(DARK, "fill", "[data-chart] .node:not(.last) :is(text, tspan)[fill]")
        assert len(texts) > 50
        assert min(map(max, texts)) > 150

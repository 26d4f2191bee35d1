"""The documents are as the code is: rules, pictures, counts, outputs, calls, and links.

The page of rules is made from the rules, its pictures exist, the guide explains every count and
which calls take a timeout, the page of the engine every output, and every link leads somewhere.
"""

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from hsms_engine import Settings, blocking, protocol
from hsms_engine.events import LinkEvent
from hsms_engine.health import Health
from hsms_engine.protocol.leasing import LONGEST, SHORTEST, LeaseTimes, OwnershipState
from hsms_engine.protocol.outputs import Output
from hsms_engine.protocol.statistics import COUNTERS
from hsms_engine.server_statistics import ServerStatistics
from statecharts.hsms.rules import SECTIONS
from statecharts.hsms.timers import (
    LEASE_END,
    OWN_DEADLINE,
    RENEWAL,
    RENEWAL_RETRY,
    STORE_TIMEOUT,
)
from tests.proof.page import PAGE, PICTURES, ROOT, page
from tests.support import settings_page


def test_the_protocol_page_is_as_the_rules_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make diagrams"


def test_the_page_of_settings_is_as_the_settings_are() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), (
        "run make diagrams"
    )


def test_every_picture_of_the_page_is_there_and_beside_a_section() -> None:
    drawn = {name for names in PICTURES.values() for name in names}

    assert {name for name in drawn if not (ROOT / "diagrams" / f"{name}.svg").is_file()} == set()
    assert set(PICTURES) <= {section.title for section in SECTIONS}


def test_the_guide_explains_every_count() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = guide.partition("| count | of |\n")[2].partition("\n\n")[0]
    explained = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row)]

    assert explained == list(COUNTERS)


def test_the_page_of_the_engine_names_every_output_and_the_package_exports_it() -> None:
    text = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    table = text.partition("| what comes out | what to do with it |\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines())))
    outputs = {each.__name__ for each in set(get_args(Output)) - set(get_args(LinkEvent))}

    assert named == outputs
    assert outputs - {"bytes"} <= set(protocol.__all__)


def guide() -> str:
    return (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


def test_the_guide_explains_every_count_of_a_server() -> None:
    table = guide().partition("| of `server.statistics()` | what |\n")[2].partition("\n\n")[0]
    named = [
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]

    assert sorted(named) == sorted(each.name for each in fields(ServerStatistics))


def test_the_guide_names_the_calls_that_take_a_timeout() -> None:
    exported = [vars(blocking)[name] for name in blocking.__all__]
    functions = [
        call for each in exported for _, call in inspect.getmembers(each, inspect.isroutine)
    ]
    calls = {
        each.__name__
        for each in (*exported, *functions)
        if inspect.isfunction(each) and not each.__name__.startswith("_")
        if "timeout" in inspect.signature(each).parameters
    }
    told = guide().partition("- These calls take `timeout`")[2].partition(". ")[0]

    assert set(re.findall(r"`([a-z_]+)`", told.partition(":")[2])) == calls


def test_the_page_of_health_explains_every_field_and_has_the_bound_of_the_defaults() -> None:
    text = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    table = text.partition("| field | what |\n|---|---|\n")[2].partition("\n\n")[0]
    named = [
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]

    assert named == [each.name for each in fields(Health)]
    assert f"the bound is {Settings().recovery_bound().seconds:.1f} s" in text


def test_the_page_of_a_standby_has_every_state_and_the_times_of_a_lease() -> None:
    text = (ROOT / "docs" / "standby.md").read_text(encoding="utf-8")
    states = re.findall(r'^\| `"(\w+)"` \|', text, re.MULTILINE)
    times = re.findall(r"^\| .* \| (?:1/(\d+)|(0\.\d+)) \| ([\d.]+) s \|$", text, re.MULTILINE)
    order = (RENEWAL, STORE_TIMEOUT, RENEWAL_RETRY, OWN_DEADLINE, LEASE_END)

    assert sorted(states) == sorted(get_args(OwnershipState))
    assert [float(seconds) for *_, seconds in times] == pytest.approx(
        [LeaseTimes(10).seconds(timer.id) for timer in order]
    )
    parts = [float(decimal) if decimal else 1 / int(below) for below, decimal, _ in times]
    assert parts == pytest.approx([LeaseTimes(10).seconds(timer.id) / 10 for timer in order])
    assert f"{SHORTEST:g} to {LONGEST:g} s" in text


# Links


def page_files() -> list[str]:
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def without_code(text: str) -> str:
    """In code there are neither links nor titles."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(file: Path) -> set[str]:
    """The anchors of a page, as GitHub and its like make them of its titles."""
    titles = re.findall(r"^#+ (.*)$", without_code(file.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in titles}


@pytest.mark.parametrize("name", page_files())
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(
        r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", without_code(page.read_text(encoding="utf-8"))
    )
    broken = [
        (target, anchor)
        for target, anchor in links
        for file in [page.parent / target if target else page]
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert broken == []

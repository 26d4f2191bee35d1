"""The page of rules is made from the rules, its pictures exist, the guide explains every count,
and the page of the engine every output."""

import re
from typing import get_args

from hsms_engine import protocol
from hsms_engine.events import LinkEvent
from hsms_engine.protocol.outputs import Output
from hsms_engine.protocol.statistics import COUNTERS
from statecharts.hsms.rules import SECTIONS
from tests.proof.page import PAGE, PICTURES, ROOT, page


def test_the_protocol_page_is_as_the_rules_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make diagrams"


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

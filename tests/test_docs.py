"""docs/protocol.md is what the rules make it, beside pictures that are there."""

from statecharts.hsms.rules import SECTIONS
from tests.proof.page import PAGE, PICTURES, ROOT, page


def test_the_protocol_page_is_as_the_rules_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make diagrams"


def test_every_picture_of_the_page_is_there_and_beside_a_section() -> None:
    drawn = {name for names in PICTURES.values() for name in names}

    assert {name for name in drawn if not (ROOT / "diagrams" / f"{name}.svg").is_file()} == set()
    assert set(PICTURES) <= {section.title for section in SECTIONS}

"""Makes the table of all functions in ``docs/messages.md`` from the catalogue.

``python -m tests.support.messages_page`` writes it.
"""

from __future__ import annotations

from pathlib import Path

from hsms_engine.messages import Function, pages
from tests.support.functions import every

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"

_TABLE = """\
| message | | direction | made by |
|---|---|---|---|
"""


def page() -> str:
    """The page: what it says before its table, and the table of now."""
    text, table, _ = PAGE.read_text(encoding="utf-8").partition(_TABLE)
    return text + table + "".join(map(_row, every()))


def _row(each: type[Function]) -> str:
    named, made = f"{pages.header(each)} | {pages.title(each)}", f"`{pages.call(each)}`"
    return f"| {named} | {pages.way(each)} | {made} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Makes ``docs/settings.md`` from the settings: name, type, default, range and meaning of each.

``python -m tests.support.settings_page`` writes it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

from hsms_engine import Settings, settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

_TOP = """\
# Settings

`make diagrams` writes this page from `hsms_engine/settings.py`: change the settings there. [The
guide](guide.md#settings) says how they are given, and explains them in groups; a [file of
links](cookbook/toml.md) has them under the same names, and the options of the programs too:
`--linktest-interval 10`.

The range is what `hsms-engine settings show` says, which writes none for Python's `None`. A value
out of its range is refused with its name, the value and the range. Times are in seconds. With
`allow_short_timers=True`, for tests, every timer may be as short as 0.001 s.

| setting | type | default | range | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """The text of the page."""
    found = ModuleAnalyzer.for_module(settings.__name__).find_attr_docs()
    fields = dataclasses.fields(Settings)
    return _TOP + "".join(_row(each, " ".join(found["Settings", each.name])) for each in fields)


def _row(field: dataclasses.Field[object], meaning: str) -> str:
    kind = field.type if field.name not in settings._CHOICES else "str"
    cells = (f"`{kind}`", f"`{field.default!r}`", settings.allowed(field.name), _markdown(meaning))
    rest = " | ".join(each.replace("|", "\\|") for each in cells)
    return f"| `{field.name}` | {rest} |\n"


def _markdown(text: str) -> str:
    """A docstring in one line, as a page has it."""
    return " ".join(text.replace("``", "`").split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")

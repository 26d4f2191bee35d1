"""The faults of the past can be put back, and the tests written for them find them again.

That the machines find them is ``make put-back``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.put_back.faults import FAULTS, Edit, Fault
from tests.put_back.run import ROOT, MovedError, changed, put_back
from tests.support.patience import PATIENCE


def test_each_fault_can_be_made_in_the_tree_as_it_is() -> None:
    assert [fault.number for fault in FAULTS] == list(range(1, 13))
    for fault in FAULTS:
        for edit in fault.edits:
            text = changed(ROOT, edit)
            assert text != (ROOT / edit.path).read_text(encoding="utf-8")
            if edit.path.endswith(".py"):
                compile(text, edit.path, "exec")


@pytest.mark.parametrize("text", ["", "twice twice"])
def test_a_text_that_has_moved_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "here.py").write_text(text, encoding="utf-8")
    with pytest.raises(MovedError, match="write the fault anew"):
        changed(tmp_path, Edit("here.py", "twice", "once"))


@pytest.mark.search
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_the_test_of_a_fault_finds_it(fault: Fault) -> None:
    command = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", fault.test)
    outcome = put_back(fault, command, PATIENCE)
    assert outcome.code == 1, outcome.said
    assert "\nFAILED " in outcome.said, outcome.said

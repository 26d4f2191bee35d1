"""secsgem and this engine, in both directions; and what ``tests.interop`` excuses, and does not.

The other engines need their registries, so ``make interop`` and CI run them.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hsms_engine import Message
from tests.interop import __main__ as program
from tests.interop import engines
from tests.interop.bench import Bench, DisagreedError, PeerError, run_peer
from tests.interop.cases import S1F1, Case, cases, expect, they_ask
from tests.interop.engines import DRIVER, ENGINES, HERE, ROOT, SECS4JS, SECSGEM, SECSGEMPRO
from tests.interop.faults import FAULTS, Fault, Trouble, recognise
from tests.interop.run import Cannot, Failed, Passed, explain, try_all, try_case

REJECTED = Trouble(
    "RejectedError: …",
    ("> Select.req", "< Select.rsp 0", "> S1F1", "< Reject.req 4"),
    "",
)
NEVER_SELECTED = Trouble(
    "PeerError: 2 selected: ConnectionError: it did not take the select",
    ("> Select.req", "< Select.rsp 0", "> Separate.req"),
    "WARNING: Invalid source state for transition 'select': NOT_CONNECTED (expected …)",
)
STILL_SELECTED = Trouble(
    "PeerError: 3 gone: ConnectionError: it still says that it is connected",
    ("< Select.req", "> Select.rsp 0", "> Separate.req"),
    "WARNING: Received Separate.req - closing connection\nINFO: Receive loop cancelled",
)
DESELECTED = Trouble(
    "DisagreedError: it closed without Separate.req",
    ("< Select.req", "> Select.rsp 0", "< Deselect.req", "> Deselect.rsp 0"),
    "",
)
HUNG = Trouble("PeerError: 5 separate: RuntimeError: it waits for a thread that is over", (), "")
EXAMPLES = {
    "hangs-in-closing": HUNG,
    "rejects-after-accepting": REJECTED,
    "never-selected": NEVER_SELECTED,
    "keeps-the-session": STILL_SELECTED,
    "deselects-instead": DESELECTED,
}
NEARLY = [
    replace(HUNG, why="PeerError: 5 separate: it said nothing in 90 s"),
    # It has answered in between: its state was SELECTED.
    replace(REJECTED, wire=("< Select.rsp 0", "> S1F1", "< S1F2", "> S1F1", "< Reject.req 4")),
    replace(REJECTED, wire=("< Select.rsp 0", "> S1F1", "< Reject.req 1")),
    replace(REJECTED, wire=("< Select.req", "> Select.rsp 0", "> S1F1", "< Reject.req 4")),
    replace(NEVER_SELECTED, said=""),
    replace(NEVER_SELECTED, wire=("> Select.req",)),
    replace(NEVER_SELECTED, why="PeerError: 2 ask: TimeoutError: it has no reply"),
    replace(STILL_SELECTED, said=f"{STILL_SELECTED.said}\nINFO: HSMS connection closed"),
    replace(STILL_SELECTED, wire=("< Select.req", "> Select.rsp 0")),
    replace(DESELECTED, wire=("< Select.req", "> Select.rsp 0")),
    replace(DESELECTED, wire=("< Deselect.req", "> Deselect.rsp 1")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_is_recognised_in_its_engines_only(fault: Fault) -> None:
    for engine in ENGINES.values():
        found = recognise(engine, EXAMPLES[fault.id])
        assert found == (fault if engine in fault.engines else None)


@pytest.mark.parametrize("trouble", NEARLY)
def test_what_only_looks_like_a_fault_is_not_excused(trouble: Trouble) -> None:
    assert [recognise(engine, trouble) for engine in ENGINES.values()] == [None] * len(ENGINES)


async def test_secsgem_passes_in_both_directions() -> None:
    results = await try_all([SECSGEM], cases(2))

    failed = {key: outcome for key, outcome in results.items() if isinstance(outcome, Failed)}
    assert not failed, [explain(outcome) for outcome in failed.values()]
    assert len(results) == 2 * len(cases(2))
    assert all(isinstance(outcome, Passed) for outcome in results.values())


async def test_what_no_row_recognises_fails_at_once() -> None:
    tries = 0

    async def disagree(_: Bench) -> int:
        nonlocal tries
        tries += 1
        raise DisagreedError("for no known reason")

    outcome = await try_case(SECSGEM, "we dial", Case("disagree", disagree))

    assert isinstance(outcome, Failed)
    assert "for no known reason" in explain(outcome)
    assert tries == 1


async def test_a_fault_that_comes_too_often_fails() -> None:
    async def be_rejected(bench: Bench) -> int:
        bench.wire.extend(REJECTED.wire)
        raise DisagreedError("rejected")

    outcome = await try_case(SECSGEM, "we dial", Case("be rejected", be_rejected))

    assert isinstance(outcome, Failed)
    assert outcome.met == {"rejects-after-accepting": 10}


async def test_a_fault_that_comes_and_goes_is_counted_and_tried_again() -> None:
    troubles = [REJECTED, REJECTED]

    async def be_rejected_twice(bench: Bench) -> int:
        if troubles:
            bench.wire.extend(troubles.pop().wire)
            raise DisagreedError("rejected")
        return 1

    outcome = await try_case(SECSGEM, "we dial", Case("be rejected", be_rejected_twice, 3))

    assert outcome == Passed(3, Counter({"rejects-after-accepting": 2}))


async def test_what_an_engine_cannot_do_is_not_tried() -> None:
    (case,) = [each for each in cases(1) if each.name == "their deselect, select again"]

    assert isinstance(await try_case(SECS4JS, "we dial", case), Cannot)


async def test_a_peer_that_ends_is_told() -> None:
    async with run_peer(SECSGEM) as peer:
        await peer.kill()
        with pytest.raises(PeerError, match="its process has ended"):
            await they_ask(peer, S1F1)


@pytest.mark.parametrize("reply", [(1, 4, b"\x01\x00"), (1, 2, b""), (2, 2, b"\x01\x00")])
def test_another_reply_than_the_expected_is_noticed(reply: tuple[int, int, bytes]) -> None:
    wanted = Message(1, 2, body=b"\x01\x00")

    expect((1, 2, b"\x01\x00"), wanted)
    with pytest.raises(DisagreedError, match="not S1F2 0100"):
        expect(reply, wanted)


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("false", 0)])
def test_an_engine_that_cannot_be_installed_is_left_out_and_fails_in_ci_only(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    ci: str,
    code: int,
) -> None:
    monkeypatch.setitem(ENGINES, DRIVER.name, replace(DRIVER, version="0.0.0"))
    monkeypatch.setattr(engines, "PEERS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("CI", ci)

    assert program.main([DRIVER.name, "--write", str(tmp_path / "page.md")]) == code
    assert "secsgem-driver 0.0.0 is left out: pip cannot install it" in capsys.readouterr().err
    assert "secsgem-driver 0.0.0 (PyPI) was left out" in (tmp_path / "page.md").read_text("utf-8")


def test_a_package_that_is_not_for_this_python_is_left_out_in_ci_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENGINES, SECSGEMPRO.name, replace(SECSGEMPRO, below=(3, 11)))
    monkeypatch.setenv("CI", "true")

    assert program.main([SECSGEMPRO.name]) == 0
    assert "left out: it needs a Python below 3.11" in capsys.readouterr().err


def test_versions_stand_once_and_the_page_is_of_these() -> None:
    from_npm = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    page = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")

    assert from_npm == {SECS4JS.name: SECS4JS.version}
    assert [each.title for each in ENGINES.values() if f"* {each.title} (" not in page] == []

"""The comparison's own logic, without timings: whose turn it is, what is told, what never hangs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.side_by_side import cases, plots, registry
from benchmarks.side_by_side.__main__ import main
from benchmarks.side_by_side.cases import Case, Column
from benchmarks.side_by_side.registry import SUBJECTS, Subject
from benchmarks.side_by_side.report import Results, shown, to_json, to_markdown
from benchmarks.side_by_side.rounds import (
    FailedError,
    Outcome,
    Spread,
    one_round,
    order,
    spread,
    turn,
)
from benchmarks.side_by_side.subjects import frames
from benchmarks.side_by_side.work import (
    CannotError,
    Connects,
    Events,
    Links,
    Start,
    Steps,
    Trips,
    Work,
    paced,
    read,
    shares,
    warm_up,
    written,
)
from hsms_engine import Message
from hsms_engine.secs2 import B, decode, encode
from tests.interop.bench import free_port
from tests.support.patience import PATIENCE

ALL = (Trips(10, 2, 3, "tls", True), Events(1), Start(2.5), Connects(3), Links(4, 1.5, 6), Steps(7))


# Rounds


def test_each_round_another_subject_begins_and_all_take_their_turn() -> None:
    assert [order("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_a_round_notes_what_comes_of_each_turn_and_gives_up_who_cannot_or_fails_twice() -> None:
    taken: list[str] = []

    def take(subject: str, work: Work) -> Mapping[str, float]:
        assert work == Steps(1)
        taken.append(subject)
        match subject:
            case "able":
                return {"rate": len(taken)}
            case "unable":
                raise CannotError("no charts")
            case _:
                raise FailedError("it died")

    outcomes = {each: Outcome() for each in ("able", "unable", "dying")}
    for number in range(4):
        one_round(list(outcomes), number, lambda _: Steps(1), outcomes, take)

    assert taken == ["able", "unable", "dying", "dying", "able", "able", "able"]
    assert outcomes["able"].figures == {"rate": [1, 5, 6, 7]}
    assert outcomes["unable"].cannot == "no charts"
    assert outcomes["dying"].failed == ["it died", "it died"]


def test_a_spread_has_the_median_and_both_ends() -> None:
    assert spread([5.0, 1.0, 9.0]) == Spread(5.0, 1.0, 9.0)


# Work


@pytest.mark.parametrize("work", ALL)
def test_work_is_read_as_it_was_written(work: Work) -> None:
    assert read(written(work)) == work


def test_shares_are_even_and_together_all_that_was_asked_for() -> None:
    assert shares(20, 8) == [3, 3, 3, 3, 2, 2, 2, 2]
    assert shares(2, 3) == [1, 1, 0]


def test_a_pace_makes_less_work_but_never_less_than_is_in_flight() -> None:
    assert paced(Trips(1_000, in_flight=8), 0.1) == Trips(100, in_flight=8)
    assert paced(Trips(1_000, in_flight=256), 0.1) == Trips(256, in_flight=256)
    assert paced(Events(10), 0.1) == Events(2)
    assert paced(Links(1_000), 0.1) == Links(1_000)


def test_every_task_warms_up() -> None:
    assert warm_up(Trips(1_000, in_flight=64)) == 64
    assert warm_up(Trips(1_000)) == 20
    assert warm_up(Trips(3)) == 1


# Subjects


@pytest.mark.parametrize("size", [None, 1, 200, 1_000, 100_000, 1_000_000])
def test_those_without_an_engine_send_as_many_bytes_as_the_engines(size: int | None) -> None:
    frame = frames.frame_of(Trips(1, size=size))
    body = b"" if size is None else encode(B(bytes(size)))

    assert frame[frames.HEADER :] == body
    assert int.from_bytes(frame[: frames.LENGTH]) == len(frame) - frames.LENGTH
    received = Message.received(frame[6] & 0x7F, frame[7], frame[6] >= 0x80, body, 0, 1)
    assert received.name == ("S1F1" if size is None else "S2F25")
    assert frames.reply_length(Trips(1, size=size)) == (
        frames.HEADER + 11 if size is None else len(frame)
    )


def test_the_reply_of_all_is_a_list_of_two_texts() -> None:
    assert decode(frames.REPLY_BODY).to_python() == ["PEER", "1"]


def test_a_subject_that_dies_before_it_listens_is_told() -> None:
    with pytest.raises(FailedError, match="has ended: no such engine"):
        turn([sys.executable, "-c", "raise SystemExit('no such engine')"], 1, Steps(1), PATIENCE)


def test_a_subject_that_hangs_before_it_listens_is_given_up() -> None:
    with pytest.raises(FailedError, match=r"not ready in 0\.1 s"):
        turn([sys.executable, "-c", "import signal; signal.pause()"], 1, Steps(1), 0.1)


def asking(does: str) -> list[str]:
    """A subject whose listener only waits, and whose other end does this."""
    program = f"""
import signal, sys
if sys.argv[1] == "listen":
    print("ready", flush=True)
    signal.pause()
{does}
"""
    return [sys.executable, "-c", program]


def test_a_subject_that_hangs_while_it_works_is_given_up() -> None:
    with pytest.raises(FailedError, match="not done in 2 s"):
        turn(asking("signal.pause()"), 1, Steps(1), 2)


def test_a_subject_that_dies_while_it_works_is_told() -> None:
    with pytest.raises(FailedError, match="ended with 1: what a pity"):
        turn(asking("raise SystemExit('what a pity')"), 1, Steps(1), PATIENCE)


def test_a_subject_that_says_nothing_is_told() -> None:
    with pytest.raises(FailedError, match="said no figures"):
        turn(asking(""), 1, Steps(1), PATIENCE)


def test_a_subject_that_cannot_says_why() -> None:
    with pytest.raises(CannotError, match="too old"):
        turn(asking("""print('{"cannot": "too old"}')"""), 1, Steps(1), PATIENCE)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each process would compile all modules again."""
    return tmp_path_factory.mktemp("compiled")


def turn_of(name: str, work: Work, compiled: Path) -> Mapping[str, float]:
    subject = SUBJECTS[name]
    return turn(subject.command(), free_port(), work, PATIENCE, subject.environment(compiled))


@pytest.mark.parametrize("name", ["engine", "blocking", "aio"])
@pytest.mark.parametrize(
    ("work", "figure"),
    [
        (Trips(9, in_flight=4), "rate"),
        (Trips(2, size=100_000), "peak_answering"),
        (Trips(3, beside_slow=True), "p99"),
        (Events(3), "cpu"),
        (Start(), "start"),
        (Connects(2), "rate"),
    ],
)
def test_this_engine_and_its_doors_do_all_work(
    name: str, work: Work, figure: str, compiled: Path
) -> None:
    assert figure in turn_of(name, work, compiled)


@pytest.mark.parametrize(
    ("name", "work", "figure"),
    [
        ("guest", Trips(2, in_flight=2), "rate"),
        ("engine", Links(3, idle=0.01, trips=6), "idle_listening"),
        ("engine", Steps(10), "cpu"),
        ("floor", Trips(2), "p99"),
        ("floor", Trips(2, size=1_000_000), "median"),
        ("floor", Connects(2), "rate"),
        ("floor", Start(), "start"),
        ("floor", Links(3, trips=6), "rate_all"),
        ("streaming-floor", Trips(2, size=1_000_000), "median"),
        ("sockets", Trips(2, size=1_000_000), "median"),
        ("sockets", Start(), "start"),
        ("sockets", Connects(2), "rate"),
        ("secsgem", Trips(2), "median"),
    ],
)
def test_the_others_do_what_they_can(name: str, work: Work, figure: str, compiled: Path) -> None:
    assert figure in turn_of(name, work, compiled)


@pytest.mark.parametrize("name", ["engine", "floor"])
def test_tls_is_checked_at_both_ends(name: str, tmp_path: Path, compiled: Path) -> None:
    from benchmarks.side_by_side import certificates

    certificates.write(tmp_path)

    assert "median" in turn_of(name, Trips(2, tls=str(tmp_path)), compiled)


@pytest.mark.parametrize(
    ("name", "work"),
    [("floor", Trips(2, in_flight=2)), ("streaming-floor", Start()), ("sockets", Links(2))],
)
def test_what_a_subject_cannot_do_it_says(name: str, work: Work, compiled: Path) -> None:
    with pytest.raises(CannotError):
        turn_of(name, work, compiled)


# The report

TWO = (Subject("ours", "our engine", "ours"), Subject("theirs", "their engine", "theirs"))
CASE = Case(
    "sequential", Trips(1), (Column("Trips", "µs", "median", 1e6), Column("Trips", "/s", "rate"))
)


def results(ours: Outcome, theirs: Outcome) -> Results:
    outcomes = {CASE.name: {"ours": ours, "theirs": theirs}}
    found = (
        {"case": "a list", "ours": 2.0, "secsgem": 5.0},
        {"case": "10 MB", "ours": 1.0, "secsgem": None},
    )
    return Results({"load before": "0.1"}, TWO, [CASE], outcomes, found)


OURS = Outcome({"median": [2e-4, 1e-4, 4e-4], "rate": [5_000.0, 6_000.0, 4_000.0]})


def test_a_cell_has_the_median_the_spread_and_how_many_times_ours_it_is() -> None:
    lines = to_markdown(results(OURS, Outcome({"median": [1e-3], "rate": [1_000.0]}))).splitlines()

    assert "* load before: 0.1" in lines
    assert "| our engine | 200 (100–400) | 5,000 (4,000–6,000) |" in lines  # noqa: RUF001
    assert "| their engine | 1,000 (1,000–1,000) 5 × | 1,000 (1,000–1,000) 0.2 × |" in lines  # noqa: RUF001


def test_who_cannot_has_a_dash_and_one_note_of_the_reason() -> None:
    lines = to_markdown(results(OURS, Outcome(cannot="it has no charts"))).splitlines()

    assert "| their engine | – [1] | – [1] |" in lines  # noqa: RUF001
    assert lines.count("1. it has no charts") == 1


def test_others_are_compared_with_the_first_that_has_figures() -> None:
    lines = to_markdown(results(Outcome(cannot="no node"), OURS)).splitlines()

    assert "| their engine | 200 (100–400) | 5,000 (4,000–6,000) |" in lines  # noqa: RUF001
    assert any("how many times that of their engine it is" in line for line in lines)


def test_who_failed_once_has_the_figures_of_the_other_rounds_and_a_note() -> None:
    theirs = Outcome({"median": [1e-3], "rate": [1_000.0]}, failed=["not done in 60 s"])
    text = to_markdown(results(OURS, theirs))

    assert "0.2 × [1] |" in text  # noqa: RUF001
    assert "1. their engine: not done in 60 s" in text


def test_items_have_a_table_of_their_own() -> None:
    lines = to_markdown(results(OURS, OURS)).splitlines()

    assert "| a list | 2 | 5 | 2.5 × |" in lines  # noqa: RUF001
    assert "| 10 MB | 1 | – | – |" in lines  # noqa: RUF001


def test_the_json_has_every_round_and_every_reason() -> None:
    theirs = Outcome(cannot="it has no charts", failed=["it died"])
    found = json.loads(json.dumps(to_json(results(OURS, theirs))))
    of_case = found["cases"]["sequential"]

    assert of_case["ours"]["rounds"]["median"] == [2e-4, 1e-4, 4e-4]
    assert of_case["ours"]["spread"]["median"] == {"median": 2e-4, "least": 1e-4, "most": 4e-4}
    assert of_case["theirs"]["cannot"] == "it has no charts"
    assert of_case["theirs"]["failed"] == ["it died"]


def test_numbers_have_three_digits_or_all_before_the_point() -> None:
    assert [shown(each) for each in (0.01234, 12.34, 1234.5)] == ["0.0123", "12.3", "1,234"]


def test_a_plot_goes_through_the_cases_that_were_measured() -> None:
    rate, *_ = plots.PLOTS
    found = results(OURS, Outcome(cannot="no"))

    assert plots.points(found, rate, "ours") == [(1, Spread(5_000.0, 4_000.0, 6_000.0))]
    assert plots.points(found, rate, "theirs") == []


def test_every_case_of_a_plot_is_there(tmp_path: Path) -> None:
    names = {case.name for case in cases.cases(tmp_path)}

    assert {case for plot in plots.PLOTS for case in plot.cases} <= names
    assert len(names) == len(cases.cases(tmp_path))
    assert set(registry.QUICK) <= set(SUBJECTS)


# The program


def test_a_run_writes_what_it_has_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--subjects", "floor,sockets,floor,", "--cases", "sequential", "--rounds", "2"]
    main([*words, "--pace", "0.001", "--out", str(tmp_path)])

    found = json.loads((tmp_path / "results.json").read_text("utf-8"))["cases"]["sequential"]
    assert {name: len(each["rounds"]["median"]) for name, each in found.items()} == {
        "floor": 2,
        "sockets": 2,
    }
    assert (tmp_path / "results.md").read_text("utf-8") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--subjects", "flour"], "not known: flour; known: engine, "),
        (["--cases", "sequentially;trips"], "not known: sequentially; trips; known: sequential; "),
        (["--subjects", ","], "nothing is chosen; known: engine, "),
        (["--rounds", "0"], "'0' is no whole number in 1..1000"),
        (["--rounds", "-1"], "'-1' is no whole number"),
        (["--rounds", "x"], "'x' is no whole number"),
        (["--pace", "0"], "'0' is no number above 0"),
        (["--pace", "nan"], "'nan' is no number above 0"),
        (["--pace", "fast"], "'fast' is no number above 0"),
        (["--out", __file__], f"--out {__file__}: File exists"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_measured(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert why in capsys.readouterr().err


def test_a_run_that_is_interrupted_says_that_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Results:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.side_by_side.__main__.measure", interrupted)
    with pytest.raises(SystemExit, match="nothing is written"):
        main(["--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []

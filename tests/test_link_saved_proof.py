"""Whatever a link begins with that was saved, it has every property that is proved of a link."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from hsms_engine import LocalProtocolError
from hsms_engine.protocol.saving import LONGEST_TEXT, OLDEST, Kept, read, write
from hsms_engine.settings import _REAL, _TIMERS
from statecharts.explore import Checker, Graph, Outcome
from statecharts.explore.alone import Alone, Here
from statecharts.explore.obligations import Examiner
from statecharts.hsms import ACTIVE_LINK, BREAKER, PASSIVE_LINK
from statecharts.hsms.world import World
from tests.proof.binding import bound, machine
from tests.proof.obligations import DIALS
from tests.proof.outside import HsmsOutside
from tests.proof.properties import DIALLING_LINK
from tests.proof.searches import LINKS_WITHOUT_TRAFFIC
from tests.support.engines import End

# The rules about bytes, which this model does not have.
WITHOUT_OCCASION = {
    *(f"receive/{rule}" for rule in ("complete", "cut", "late-ns", "late-s")),
    *(f"send/{rule}" for rule in ("caught-up", "cut", "drained", "stuck-ns", "stuck-s")),
}


def through_json(kept: Kept, *, aged: float = 0.0) -> Kept:
    text = json.dumps(write(kept, 1e9), allow_nan=False)
    assert len(text) < LONGEST_TEXT / 4
    return read(text, 1e9 + aged, peer="tool", threshold=2)


def kept_in(here: Here[World], router: Any, attempt_age: float | None) -> Kept:
    """What a link keeps that is in this state of the model."""
    end = End(breaker_threshold=2, linktest_threshold=2)
    life = end.engine._life
    life.router, life.snapshot = router, here.snapshot
    life.timers.restore(attempt_age, 1.0 if "open_time" in here.world.timers else None)
    return end.engine.kept()


def begun(kept: Kept, threshold: int) -> Iterator[Here[World]]:
    """Where a link is that begins with ``kept``; and where it is when it is then enabled."""
    end = End(kept=kept, breaker_threshold=threshold, linktest_threshold=2)
    life = end.engine._life
    yield Here(life.snapshot, life._world)
    end.engine.enable()
    yield Here(life.snapshot, life._world)


def test_each_state_of_a_link_comes_back_as_one_that_the_model_reaches() -> None:
    model = LINKS_WITHOUT_TRAFFIC[0].model(machine)
    graph = Graph(model)
    reached = set(graph.states)
    seen = set()
    for here, attempt_age in product(graph.states, (None, 3.0)):
        kept = kept_in(here, model.router, attempt_age)
        restored = through_json(kept)
        assert restored == kept
        seen.add(kept)
        assert set(begun(restored, 2)) <= reached
        again = End(kept=restored, breaker_threshold=2).engine.kept()
        assert again.attempt_age == kept.attempt_age
        assert again.open_age == kept.open_age
        assert ("probing" in kept.breaker, again.breaker.values) == (
            "ready" in again.breaker and again.breaker != kept.breaker,
            kept.breaker.values,
        )
    # Enabled or not, before and after an attempt, in every state of the breaker.
    assert {each.breaker.leaves for each in seen} == {state.id for state in BREAKER.leaves}
    assert {(each.is_enabled, each.attempt_age) for each in seen} == set(
        product((False, True), (None, 3.0))
    )


class Begun(Alone[World]):
    """A link that begins with anything that is accepted as saved, by friend or foe."""

    def __init__(self, saved_under: int, threshold: int) -> None:
        parameters = {"breaker": {"threshold": threshold}, "linktest": {"linktest_threshold": 2}}
        super().__init__(bound(ACTIVE_LINK, parameters), HsmsOutside(ACTIVE_LINK, traffic=False))
        self._begun = tuple(
            dict.fromkeys(
                Here(self.router.snapshot(self._parts(here)), here.world)
                for kept in accepted_under(saved_under)
                for here in begun(kept, threshold)
            )
        )

    def _parts(self, here: Here[World]) -> Any:
        machines = self.router.machines
        return tuple(
            machines[id].snapshot(here.snapshot[id].states, here.snapshot[id].values)
            for id in machines
        )

    @property
    def initial(self) -> tuple[Here[World], ...]:
        return self._begun


def accepted_under(threshold: int) -> Iterator[Kept]:
    """Everything that ``read`` accepts under a threshold, ages aside."""
    breaker = machine(BREAKER, {"threshold": threshold})
    for leaf, failures, enabled, age in product(
        BREAKER.leaves, range(threshold + 1), (False, True), (None, 3.0)
    ):
        snapshot = breaker.snapshot([each.id for each in BREAKER.path(leaf.id)], [failures])
        if leaf.id == "breaker_closed" and failures == threshold:
            continue
        open_age = 1.0 if leaf.id == "breaker_open" else None
        kept = Kept(enabled, snapshot, age, open_age)
        assert through_json(kept) == kept
        yield kept


@pytest.mark.parametrize(("before", "now"), [*product((1, 2, 3), repeat=2)])
def test_whatever_it_begins_with_a_link_has_every_property(before: int, now: int) -> None:
    model = Begun(before, now)
    graph = Graph(model)
    verdicts = Checker(graph).check(DIALLING_LINK)

    assert len(model.initial) > 10
    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("before", [1, 2, 3])
def test_whatever_it_begins_with_a_link_fulfils_every_obligation(before: int) -> None:
    # The rules speak of a threshold of 2.
    model = Begun(before, 2)
    snapshots = [here.snapshot for here in Graph(model).states]
    breaches = list(Examiner(model.router).breaches(snapshots, DIALS))

    assert {each.obligation.clause for each in breaches} == WITHOUT_OCCASION
    assert [str(each) for each in breaches if each.event] == []


def test_an_age_is_kept_up_to_more_than_any_timer() -> None:
    longest = max(timer.highest for timer in _TIMERS.values())
    assert max(longest, _REAL["backoff_limit"][1]) * (1 + _REAL["backoff_jitter"][1]) < OLDEST


@pytest.mark.parametrize("end", [{"single_use": True}, {"system": PASSIVE_LINK}])
def test_an_end_that_does_not_reconnect_keeps_nothing(end: dict[str, Any]) -> None:
    kept = next(accepted_under(2))
    refused = "^tool: only a link that reconnects is saved and restored$"
    with pytest.raises(LocalProtocolError, match=refused):
        End(**end).engine.kept()
    with pytest.raises(LocalProtocolError, match=refused):
        End(**end, kept=kept)

"""A chart without one transition or effect, to see that a check notices it."""

from dataclasses import replace

from statecharts import Chart


def without(chart: Chart, transition: str, effect: str = "") -> Chart:
    """The chart without the transition with this text, or without one effect of it."""
    (found,) = (on for on in chart.transitions if str(on) == transition)
    if not effect:
        return replace(chart, transitions=tuple(on for on in chart.transitions if on != found))
    changed = replace(found, do=tuple(each for each in found.do if str(each) != effect))
    assert changed != found
    return replace(
        chart, transitions=tuple(changed if on == found else on for on in chart.transitions)
    )

"""The nursery of the kit, under the name by which this package knows it."""

from statecharts.nursery import is_cancellation, open_bare_nursery

__all__ = ["is_cancellation", "open_bare_nursery"]

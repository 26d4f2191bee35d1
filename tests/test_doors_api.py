"""The doors have the API of trio, name by name; each is used as a type checker sees it."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import hsms_engine
from hsms_engine import aio, blocking, monitor

CLASSES = ("HsmsConnection", "HsmsLink", "HsmsServer", "CircuitBreaker")
FUNCTIONS = ("open_hsms", "open_link", "serve_health", "serve_hsms")
# For the doors themselves, and for what they do in another way.
INTERNAL = {"request_now", "put_back", "close_soon", "until_closed", "serve"}
# Of a server; its statistics have them too.
GAUGES = {"handlers", "outliving", "waiting_bytes"}
# Streams and listeners of trio; and how trio starts a server.
OF_TRIO = {"dial", "listener", "wrap", "handler_room", "task_status"}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(function: object) -> set[str]:
    assert callable(function)
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("door", "more"),
    [(blocking, {"close", "wait_closed", "settings"}), (aio, {"wait_closed", "settings"})],
)
def test_a_class_of_a_door_has_what_the_one_of_trio_has(
    door: ModuleType, more: set[str], name: str
) -> None:
    there, here = public(getattr(hsms_engine, name)), public(getattr(door, name))
    other_name = {"aclose"} if door is blocking else set()
    assert there - here <= INTERNAL | GAUGES | other_name
    assert here - there <= more


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("door", "more"), [(blocking, {"timeout", "threads"}), (aio, set[str]())])
def test_a_function_of_a_door_takes_what_the_one_of_trio_takes(
    door: ModuleType, more: set[str], name: str
) -> None:
    there, here = parameters(getattr(hsms_engine, name)), parameters(getattr(door, name))
    assert there - here <= OF_TRIO
    assert here - there <= more


@pytest.mark.parametrize("door", [blocking, aio])
def test_a_door_exports_the_names_of_the_package(door: ModuleType) -> None:
    # The page needs an extra: for trio it is in a package of its own.
    assert {*CLASSES, *FUNCTIONS, "EventReader", "serve_monitor"} == set(door.__all__)
    there, here = parameters(monitor.serve_monitor), parameters(door.serve_monitor)
    assert there - here == {"budget", "entered", "task_status"}
    assert here <= there

"""The command ``messages``: the list of all, the page of one, JSON."""

from __future__ import annotations

import json

import pytest

from hsms_engine import cli, messages
from hsms_engine.messages import pages


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["messages", *arguments]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    return out


def test_without_a_name_it_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(messages.NAMES)
    assert lines[0] == "S1F1 W     both ways          Are You There"
    assert "S6F11 [W]  equipment to host  Event Report Send" in lines


@pytest.mark.parametrize("name", ["S2F41", "s2f41"])
def test_with_a_name_it_prints_the_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, name) == messages.describe("S2F41") + "\n"


def test_as_json_each_message_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in printed(capsys, "--json").splitlines()]
    assert [each["message"] for each in told] == list(messages.NAMES)
    one = json.loads(printed(capsys, "S1F14", "--json"))
    assert one == pages.facts(messages.S1F14)
    assert one["data"]["COMMACK"]["codes"] == {
        "0": "accepted",
        "1": "denied, try again",
        "64..": "of the equipment",
    }
    assert one["reply"] is None
    assert one["layout"][0] == "<L [2]"


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["messages", "S2F4"]) == 2
    assert capsys.readouterr().err == (
        "hsms-engine messages: 'S2F4' is not in the catalogue; without NAME it is listed\n"
    )

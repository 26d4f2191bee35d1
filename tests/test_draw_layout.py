"""The pictures as ``dot`` lays them out: nothing lies on a text or stands in a foreign box."""

import json
import subprocess
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import pytest

from statecharts import Machine
from statecharts.draw import draw
from statecharts.hsms import ACTIVE
from statecharts.hsms.pictures import texts
from tests.support.odd_charts import ODD
from tests.support.tools import needs

PICTURES = {name: text for name, text in texts().items() if name.endswith(".dot")}
PICTURES |= {chart.id: draw(chart) for chart in ODD}
PICTURES["highlighted"] = draw(
    ACTIVE, Machine(ACTIVE).snapshot(("connected", "selected", "communicating")), page=("selected",)
)
# Inches; on a page of 880 pixels a text of 9 points is then still 9 pixels high.
WIDEST = 12.2


class Rectangle(NamedTuple):
    left: float
    low: float
    right: float
    high: float

    def touches(self, other: "Rectangle") -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.low < other.high
            and other.low < self.high
        )

    def holds(self, other: "Rectangle") -> bool:
        return (
            self.left <= other.left
            and self.right >= other.right
            and self.low <= other.low
            and self.high >= other.high
        )

    def contains(self, point: tuple[float, float]) -> bool:
        # One point of grace: an arrow may graze the white space around a text.
        x, y = point
        return self.left + 1 < x < self.right - 1 and self.low + 1 < y < self.high - 1


def laid_out(text: str) -> Any:
    told = subprocess.run(
        ["dot", "-Tjson"], input=text, capture_output=True, encoding="utf-8", check=True
    )
    assert told.stderr == ""
    return json.loads(told.stdout)


def rectangles(picture: Any) -> dict[int, Rectangle]:
    found = {}
    for each in picture["objects"]:
        if "pos" in each:
            x, y = (float(number) for number in each["pos"].split(","))
            wide, high = float(each["width"]) * 36, float(each["height"]) * 36
            found[each["_gvid"]] = Rectangle(x - wide, y - high, x + wide, y + high)
    return found


def points(edge: Any) -> Iterator[tuple[float, float]]:
    """Points on the curves of an arrow."""
    parts = [part for part in edge["pos"].split(" ") if part[0] not in "se"]
    ends = [tuple(float(number) for number in part.split(",")) for part in parts]
    for start in range(0, len(ends) - 1, 3):
        a, b, c, d = ends[start : start + 4]
        for step in range(129):
            t = step / 128
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            x, y = (
                sum(weight * end[axis] for weight, end in zip(weights, (a, b, c, d), strict=True))
                for axis in (0, 1)
            )
            yield x, y


@pytest.fixture(scope="module", params=PICTURES)
def picture(request: pytest.FixtureRequest) -> Any:
    needs("dot")
    return laid_out(PICTURES[request.param])


def name(picture: Any, number: int) -> str:
    return str(next(each["name"] for each in picture["objects"] if each["_gvid"] == number))


def test_no_text_lies_on_another(picture: Any) -> None:
    boxes = rectangles(picture)
    assert [
        f"{name(picture, one)} lies on {name(picture, other)}"
        for one, other in combinations(boxes, 2)
        if boxes[one].touches(boxes[other])
    ] == []


def test_no_arrow_crosses_a_text(picture: Any) -> None:
    boxes = rectangles(picture)
    assert [
        f"{name(picture, edge['tail'])} -> {name(picture, edge['head'])} crosses "
        f"{name(picture, number)}"
        for edge in picture["edges"]
        if edge.get("style") != "invis"
        for number, box in boxes.items()
        if number not in (edge["tail"], edge["head"])
        if any(box.contains(point) for point in points(edge))
    ] == []


def test_nothing_stands_in_a_foreign_box_or_sticks_out_of_its_own(picture: Any) -> None:
    boxes = rectangles(picture)
    wrong = []
    for cluster in picture["objects"]:
        if "nodes" not in cluster or not cluster["name"].startswith("cluster_"):
            continue
        around = Rectangle(*(float(number) for number in cluster["bb"].split(",")))
        for number, box in boxes.items():
            inside = number in cluster["nodes"]
            if (inside and not around.holds(box)) or (not inside and around.touches(box)):
                wrong.append(f"{name(picture, number)} and {cluster['name']}")
    assert wrong == []


def test_a_picture_is_as_wide_as_a_page_can_show(picture: Any) -> None:
    left, _, right, _ = (float(number) for number in picture["bb"].split(","))
    assert (right - left) / 72 <= WIDEST

"""One side of a link, played from a file: a host or an equipment that sends, expects, and compares.

::

    scenario = read_scenario("start-up.toml")
    async with open_hsms("10.1.2.3", 5000, scenario.settings) as connection:
        await play(scenario, connection)      # raises DifferenceError, StepError

``steps`` is what a scenario is, ``reading`` reads it from TOML, ``player`` plays it, ``courtesy``
has the answers to what no step expects, ``report`` is JUnit's XML, ``recording`` makes a scenario
of a log. The page ``docs/scenarios.md`` has the format.
"""

from hsms_engine.scenario.errors import DifferenceError, StepError
from hsms_engine.scenario.player import Began, Passed, Told, Unexpected, play
from hsms_engine.scenario.reading import parse_scenario, read_scenario
from hsms_engine.scenario.steps import Scenario

__all__ = [
    "Began",
    "DifferenceError",
    "Passed",
    "Scenario",
    "StepError",
    "Told",
    "Unexpected",
    "parse_scenario",
    "play",
    "read_scenario",
]

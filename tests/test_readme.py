"""What the README says can be run as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import HsmsConnection, Message, Settings, bounds, serve_hsms
from hsms_engine.messages import S5F1
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def first_python_block() -> str:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


async def test_the_first_program_of_the_readme_runs(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    answered: list[Message] = []

    async def equipment(connection: HsmsConnection) -> None:
        async for primary in connection:
            await connection.reply(
                primary, Message(primary.stream, primary.function + 1, item=["MDLN", "1.0"])
            )
            if primary.function == 1:
                answered.append(await connection.request(S5F1(0x80, 7, "door open")))
                return

    server = await nursery.start(serve_hsms, equipment, Settings(port=0))
    program = first_python_block()
    last_line = "trio.run(main, 5000)"
    assert program.count(last_line) == 1
    names: dict[str, Any] = {}
    exec(program.partition(last_line)[0], names)
    with trio.fail_after(PATIENCE):
        await names["main"](server.port)
    printed = capsys.readouterr().out
    assert "S1F14" in printed
    assert "MDLN" in printed
    assert "S5F1" in printed
    assert "door open" in printed
    assert [reply.name for reply in answered] == ["S5F2"]
    await server.aclose()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_of_the_readme_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_bounds_of_the_readme_are_those_of_the_default_settings() -> None:
    table = README.partition("## How long until the link is back")[2].partition("\n## ")[0]
    found = [float(seconds) for seconds in re.findall(r"\| ([\d.]+) s \|", table)]
    assert found == pytest.approx([each.seconds for each in bounds.table(Settings())])

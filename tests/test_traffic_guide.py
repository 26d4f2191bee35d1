"""What the guide says about logs can be run as it stands there, all of it in one program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = """
import trio
from functools import partial
from hsms_engine import HsmsConnection, Message, open_hsms, serve_hsms


async def answer(connection: HsmsConnection) -> None:
    async for primary in connection:
        await connection.reply(primary, Message(1, 2, item="it\\nis"))
    1 / 0


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_hsms, answer, "127.0.0.1", 0))
        async with open_hsms("127.0.0.1", server.port) as connection:
            await connection.request(Message(1, 1, wait=True))
        await server.aclose()


trio.run(main)
"""


def test_the_programs_of_the_guide_write_what_it_says(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    section = guide.partition("## What went over the wire\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(import .*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join((*blocks, PROGRAM))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    # The second block keeps the lines from the console.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = (tmp_path / "hsms.log").read_text(encoding="utf-8").splitlines()
    assert any("active sent S1F1 W session=0 system=" in each for each in written)
    assert any("active: selected" in each for each in written)
    facts = [
        json.loads(each)
        for each in (tmp_path / "hsms.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    # The other lines are of tracebacks.
    assert len(facts) == len([each for each in written if re.match(r"\d{4}-", each)])
    replies = [each for each in facts if each.get("message_name") == "S1F2"]
    assert {each["direction"] for each in replies} == {"sent", "received"}
    assert all(each["seconds"] >= 0 and each["length"] == 21 for each in replies)
    # Its line at INFO, and its body at DEBUG.
    assert {each["level"] for each in replies} == {"INFO", "DEBUG"}
    (failed,) = [each for each in facts if each["level"] == "ERROR"]
    assert "ZeroDivisionError" in failed["text"]
    assert {each["logger"] for each in facts} == {"hsms_engine.traffic", "hsms_engine.link"}

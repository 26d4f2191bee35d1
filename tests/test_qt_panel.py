"""The Qt example of the cookbook, with real widgets, a real link and the fake equipment.

Each scenario runs in a process of its own, on Qt's offscreen platform (``tests.support.panel``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from hsms_engine.fake import serve_fake
from hsms_engine.fake.threaded import run_in_thread
from tests.support.patience import PATIENCE
from tests.support.tools import needs_qt

ROOT = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to all of its console there")
def test_ctrl_c_ends_the_program_and_separates() -> None:
    needs_qt()
    told: list[object] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        if event == "ended":
            told.append(details["why"])

    with (
        run_in_thread(partial(serve_fake, report=report)) as equipment,
        subprocess.Popen(
            [sys.executable, ROOT / "examples" / "qt_panel.py", "127.0.0.1", str(equipment.port)],
            env=environment(),
        ) as process,
    ):
        equipment.until(lambda: equipment.counts["selected"] == 1, timeout=PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        equipment.until(lambda: bool(told))
    assert told == ["separated"]


@pytest.mark.parametrize("scenario", ["talks", "reconnects", "errs", "closes_while_it_asks"])
def test_the_panel_shows_what_happens_and_its_end_separates(scenario: str) -> None:
    needs_qt()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.panel", scenario],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE * 2,
        check=False,
    )

    # Of a slot that raises, Qt only prints the traceback.
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.returncode, done.stdout) == (0, "0 separated\n"), done.stderr


EARLY = """
import os, signal, sys
from examples import qt_panel

def run(app, settings):
    os.kill(os.getpid(), signal.SIGINT)
    return app.exec()

qt_panel.run = run
qt_panel.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to all of its console there")
def test_ctrl_c_before_the_loop_of_qt_begins_is_not_lost() -> None:
    needs_qt()
    words = [sys.executable, "-c", EARLY, "127.0.0.1", "5000"]
    done = subprocess.run(words, env=environment(), timeout=PATIENCE, check=False)
    assert done.returncode == 0

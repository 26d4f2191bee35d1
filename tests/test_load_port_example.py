"""The example of the documentation runs as it stands."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "load_port.py"


def test_the_load_port_is_run_drawn_checked_and_tested() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.count(": held") == 2
    assert "as it should" in done.stdout
    assert 'digraph "load_port"' in done.stdout


def test_it_takes_forty_lines() -> None:
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]

    assert len(lines) <= 40

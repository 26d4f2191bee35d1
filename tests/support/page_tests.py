"""Tests that a page shows, run as where the package is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.patience import PATIENCE


def run_tests(file: Path, environment: dict[str, str]) -> str:
    """What pytest prints of this file, whose tests must pass."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "hsms_engine.pytest_plugin", file.name),
        ],
        cwd=file.parent,
        env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout

"""What a run is told by: versions, the machine, and how busy it was."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import hsms_engine


def versions() -> str:
    found = {"hsms-engine": hsms_engine.__version__, "Python": platform.python_version()}
    found |= {name: version(name) for name in ("trio", "python-statemachine")}
    if node := shutil.which("node"):
        told = subprocess.run(
            [node, "--version"], capture_output=True, encoding="utf-8", check=False
        )
        found["Node"] = told.stdout.strip().removeprefix("v")
    return ", ".join(f"{name} {number}" for name, number in found.items())


def machine() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    # Not all kinds of processor are told there.
    model = models[0] if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores, {model}, {memory:.0f} GB, {sys.platform} {platform.release()}"


def load() -> str:
    """The programs that wanted a core: on average over 1, 5 and 15 minutes."""
    return ", ".join(f"{each:.2f}" for each in os.getloadavg())

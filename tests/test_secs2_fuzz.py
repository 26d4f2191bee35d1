"""A bounded run of the fuzzers over the corpus kept here: nothing but the documented error.

For a longer look: ``python tests/fuzz_secs2.py tests/corpus/secs2 -max_total_time=600``.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.memory import peak_megabytes

TESTS = Path(__file__).parent
RUNS = 20_000
SECONDS = 60


@pytest.mark.parametrize("name", ["secs2", "sml", "log_reader"])
def test_a_fuzzer_finds_nothing_but_the_documented_error(name: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        reason = "atheris is not installed: it has no wheel for this Python or platform"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    run = subprocess.run(
        [
            sys.executable,
            TESTS / f"fuzz_{name}.py",
            # New inputs go to the first folder.
            tmp_path,
            TESTS / "corpus" / name,
            f"-runs={RUNS}",
            f"-max_total_time={SECONDS}",
            "-timeout=5",
            # A process begins with the peak of the one that started it.
            f"-rss_limit_mb={peak_megabytes() + 1024}",
            "-max_len=4096",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=TESTS.parent,
        # The fuzzer measures coverage by itself, and two at once are slow.
        env={key: value for key, value in os.environ.items() if not key.startswith("COV")}
        | {"PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        encoding="utf-8",
        timeout=4 * SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "Done" in run.stderr

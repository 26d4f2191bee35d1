"""How much of the engine the tests watch: a seeded sample of one-fault mutants of its code.

    python -m tests.code_mutants [count] [seed]

The faults are those of ``mutmut``, and two of our own: a statement left out, a condition negated.
Each mutant is tried in a copy of the repository, on the tests that execute the changed line, the
quickest first. A mutant on which they hang is killed as well. What survives is printed as a diff
and is either equivalent or a hole. The mutants of the charts are ``tests/proof/mutation.py``'s.
"""

from __future__ import annotations

import difflib
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
import pytest
from coverage import Coverage
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

_ROOT = Path(__file__).parent.parent
_MUTATED = (
    "protocol/*.py driver/*.py link.py server.py accepted.py connection.py breaker.py".split()
)
# What starts processes, searches the charts, takes minutes, or watches other code.
_LEFT_OUT = """
    cli clauses conversation_tshark dead_ends demo determinism docs draw* *_fuzz explore* export
    import_floors interop lint load_port* machine mutants obligations pictures properties
    python_statemachine_semantics readme secs2_* sml_* spin_oracle testgen tours_on_the_driver
    wire_tshark xstate_oracle
""".split()
_JOBS = 2


def _left_out(node: cst.Expr) -> Iterator[cst.CSTNode]:
    if not isinstance(node.value, cst.BaseString):
        yield cst.Pass()


def _negated(node: cst.If | cst.While | cst.IfExp) -> Iterator[cst.CSTNode]:
    parentheses = {"lpar": [cst.LeftParen()], "rpar": [cst.RightParen()]}
    test = node.test.with_changes(**parentheses)
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


_OPERATORS: list[tuple[Any, Callable[[Any], Iterable[cst.CSTNode]]]] = [
    *mutation_operators,
    (cst.Expr, _left_out),
    (cst.If, _negated),
    (cst.While, _negated),
    (cst.IfExp, _negated),
]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: ``changed`` in the place of ``node``, which begins at ``line`` of ``path``."""

    path: Path
    line: int
    module: cst.Module
    node: cst.CSTNode
    changed: cst.CSTNode

    def code(self) -> str:
        """The whole file with the fault."""
        faulty = self.module.deep_replace(self.node, self.changed)
        assert isinstance(faulty, cst.Module)
        return str(faulty.code)

    def diff(self) -> str:
        """What has changed, to be read by people."""
        before, after = self.module.code.splitlines(), self.code().splitlines()
        lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[3:]
        return f"{self.path.relative_to(_ROOT)}:{self.line}\n    " + "\n    ".join(lines)


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """``node`` and all below it, but for what only the type checker and the linter read."""
    match node:
        case cst.Annotation() | cst.Decorator() | cst.ImportFrom():
            return
        case cst.Call(func=cst.Name("assert_never")):
            return
        case cst.Assign(targets=[cst.AssignTarget(cst.Name("__all__"))]):
            return
        case cst.Assign(
            value=cst.Subscript(value=cst.Name("Literal" | "Callable"))
            | cst.Call(func=cst.Name("TypeVar"))
        ):
            return
    yield node
    for child in node.children:
        yield from _nodes(child)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of one file, in the order of the file."""
    wrapper = MetadataWrapper(cst.parse_module(path.read_text(encoding="utf-8")))
    places = wrapper.resolve(PositionProvider)
    for node in _nodes(wrapper.module):
        for kind, operator in _OPERATORS:
            if node in places and isinstance(node, kind):
                for changed in operator(node):
                    yield Mutant(path, places[node].start.line, wrapper.module, node, changed)


class _Recorder:
    """A plug-in of pytest: which test executes which line, and how many seconds it takes."""

    def __init__(self) -> None:
        self.coverage = Coverage(data_file=None, config_file=False, source_pkgs=["hsms_engine"])
        self.seconds: dict[str, float] = {}
        # By file and line; a line of the file's import has none.
        self.executed: dict[str, dict[int, list[str]]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.coverage.switch_context(item.nodeid)
        began = time.perf_counter()
        result = yield
        self.seconds[item.nodeid] = time.perf_counter() - began
        return result

    def run(self) -> None:
        """Run the tests once on the code as it is. Exits when they fail."""
        left_out = [f"--ignore-glob=*/test_{name}.py" for name in _LEFT_OUT]
        self.coverage.start()
        code = pytest.main(["-q", "-p", "no:cacheprovider", *left_out, "tests"], plugins=[self])
        self.coverage.stop()
        if code:
            sys.exit("the tests fail without a fault")
        data = self.coverage.get_data()
        for file in data.measured_files():
            self.executed[file] = data.contexts_by_lineno(file)

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that execute the mutant's line; where none does, its file, or all."""
        executed = self.executed[str(mutant.path)]
        line = max((line for line in executed if line <= mutant.line), default=0)
        in_file = {test for tests in executed.values() for test in tests}
        of_line = set(executed.get(line, ()))
        every = self.seconds.keys()
        found = of_line & every or in_file & every or every
        return sorted(found, key=self.seconds.__getitem__)


class _Copies:
    """Copies of the repository, one for each job."""

    def __init__(self, folder: Path) -> None:
        self.free: queue.Queue[Path] = queue.Queue()
        files = subprocess.check_output(["git", "ls-files", "-z"], cwd=_ROOT, encoding="utf-8")
        for number in range(_JOBS):
            copy = folder / str(number)
            for name in files.strip("\0").split("\0"):
                target = copy / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(_ROOT / name, target)
            # Compiles everything once; a mutant leaves nothing compiled behind.
            self._pytest(copy, 600, "--collect-only")
            self.free.put(copy)

    def survives(self, mutant: Mutant, tests: list[str], limit: float) -> bool:
        """Whether all tests pass on the mutant, within ``limit`` seconds."""
        copy = self.free.get()
        target = copy / mutant.path.relative_to(_ROOT)
        (copy / "chosen.txt").write_text("\n".join(tests), encoding="utf-8")
        target.write_text(mutant.code(), encoding="utf-8")
        try:
            return self._pytest(copy, limit, "-x", "@chosen.txt", PYTHONDONTWRITEBYTECODE="1") == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            target.write_text(mutant.module.code, encoding="utf-8")
            self.free.put(copy)

    @staticmethod
    def _pytest(copy: Path, limit: float, *arguments: str, **variables: str) -> int:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), **variables},
            timeout=limit,
            capture_output=True,
            check=False,
        ).returncode


def main(count: int = 200, seed: int = 0) -> None:
    """Try ``count`` mutants, print those that survive and how many did not."""
    recorder = _Recorder()
    recorder.run()
    paths = sorted(path for glob in _MUTATED for path in (_ROOT / "hsms_engine").glob(glob))
    every = [mutant for path in paths for mutant in mutants_of(path)]
    sample = random.Random(seed).sample(every, min(count, len(every)))

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_JOBS) as pool:
        copies = _Copies(Path(folder))

        def attempt(mutant: Mutant) -> bool:
            tests = recorder.tests(mutant)
            limit = 60 + 3 * sum(recorder.seconds[test] for test in tests)
            return copies.survives(mutant, tests, limit)

        killed = 0
        for mutant, survived in zip(sample, pool.map(attempt, sample), strict=True):
            killed += not survived
            if survived:
                print(mutant.diff(), flush=True)
    print(f"{killed} of {len(sample)} killed, of {len(every)} mutants (seed {seed})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

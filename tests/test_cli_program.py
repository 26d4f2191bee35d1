"""The program as a whole: what holds for each command, generated from what they declare."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from hsms_engine import Message, blocking, cli, process
from hsms_engine.capture import PCAP_HEADER, PcapWriter
from hsms_engine.cli.command import Group
from hsms_engine.cli.program import COMMANDS, app_of
from hsms_engine.pytest_plugin import FakeEquipments
from hsms_engine.recording import EndRecord, FrameRecord, LinkRecord, Record, head, line_of
from hsms_engine.secs2 import L
from hsms_engine.wire import data_frame, encode
from tests.support.certificates import issued
from tests.support.patience import PATIENCE
from tests.support.store_server import store_server
from tests.support.tools import needs

if sys.platform == "win32":
    pytest.skip("what is tested here are shells and signals of POSIX", allow_module_level=True)

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
SCENARIO = "[scenario]\nname = 'x'\nrole = '{}'\n[[step]]\nsend = 'S1F1 W'\nexpect = 'S1F2'\n"
TOOLS = f"[link.etcher-1]\nhost = '{HOST}'\nport = {{}}\n"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def shim(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``hsms-engine`` is that of this source."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "hsms-engine"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hsms_engine "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return {**ENVIRONMENT, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def run(
    words: list[str], *, env: dict[str, str] = ENVIRONMENT, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        env=env,
        cwd=cwd,
    )


@pytest.fixture
def hearing_ctrl_c() -> Iterator[None]:
    """Programs that are started hear Ctrl-C, though who started the tests may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Imports


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        (["--version"], set()),
        (["health", "1"], {"health"}),
        (["sml", "--help"], {"sml"}),
        (["sml", "check", "--help"], {"sml"}),
        (["messages", "health"], {"messages"}),
        (["--help"], set(COMMANDS)),
        (["helth"], set(COMMANDS)),
        ([], set(COMMANDS)),
    ],
)
def test_only_the_command_that_is_named_is_imported(
    arguments: list[str], imported: set[str]
) -> None:
    program = (
        "import sys; from hsms_engine.cli import main; code = main(sys.argv[1:]);"
        "print(sorted(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = run([sys.executable, "-c", program, *arguments])
    modules = done.stderr.splitlines()[-1]
    assert {name for name in COMMANDS if f"'hsms_engine.cli.{name}'" in modules} == imported


# Completion


SHELLS = {
    "bash": "complete -o default -F _hsms_engine_completion hsms-engine",
    "zsh": "compdef _hsms_engine_completion hsms-engine",
    "fish": "complete --command hsms-engine --no-files",
    "powershell": "Register-ArgumentCompleter -Native -CommandName hsms-engine",
    "pwsh": "Register-ArgumentCompleter -Native -CommandName hsms-engine",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert SHELLS[shell] in out
    # It asks the program by the variable that this reads.
    assert "_HSMS_ENGINE_COMPLETE" in out


@pytest.mark.parametrize("shell", ["csh", "", "Bash"])
def test_another_shell_is_refused(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 2
    assert f"{shell!r} is not one of bash, zsh, fish, powershell, pwsh" in capsys.readouterr().err


BASH = """
source <(hsms-engine completion bash)
COMP_WORDS=(hsms-engine "$@")
COMP_CWORD=$#
_hsms_engine_completion hsms-engine
printf '%s\\n' "${COMPREPLY[@]}"
"""


COMPLETED = [
    (["he"], ["health"]),
    (["co"], ["completion", "connect"]),
    ([""], [*COMMANDS]),
    (["sml", ""], ["check", "format", "from-log"]),
    (["health", "--ti"], ["--timeout"]),
    (["completion", "p"], ["powershell", "pwsh"]),
]


@pytest.mark.parametrize(("words", "completed"), COMPLETED)
def test_bash_completes(words: list[str], completed: list[str], shim: dict[str, str]) -> None:
    done = run(["bash", "-c", BASH, "bash", *words], env=shim)
    assert done.stderr == ""
    # The shell sorts them.
    assert sorted(done.stdout.split("\n")[:-1]) == completed


# What zsh's own function would show is printed.
ZSH = """
compdef() { }
_arguments() { print -r -- "$@" }
words=(hsms-engine "$@")
CURRENT=${#words}
source <(hsms-engine completion zsh)
_hsms_engine_completion
"""
FISH = "hsms-engine completion fish | source; complete -C (string join ' ' -- $argv)"


@pytest.mark.parametrize(("words", "completed"), COMPLETED)
def test_zsh_completes(words: list[str], completed: list[str], shim: dict[str, str]) -> None:
    needs("zsh")
    done = run(["zsh", "-f", "-c", ZSH, "zsh", *words], env=shim)
    assert done.stderr == ""
    found = re.findall(r'(?:\(\(| )"([\w-]+)"', done.stdout)
    assert sorted(found) == completed, done.stdout


@pytest.mark.parametrize(("words", "completed"), COMPLETED)
def test_fish_completes(
    words: list[str], completed: list[str], shim: dict[str, str], tmp_path: Path
) -> None:
    needs("fish")
    done = run(["fish", "--no-config", "-c", FISH, "hsms-engine", *words], env=shim, cwd=tmp_path)
    assert done.stderr == ""
    lines = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    # It offers files too.
    assert [each for each in lines if each and each != "bin/"] == completed


# Wrong values


def declared() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every option and argument that the commands declare, by the words of the command."""
    program: Any = typer.main.get_command(app_of(COMMANDS))
    for name, command in program.commands.items():
        for words, each in [
            ((name, *inner), found)
            for inner, found in [
                ((), command),
                *(((inner,), found) for inner, found in getattr(command, "commands", {}).items()),
            ]
        ]:
            for parameter in each.params:
                yield words, parameter


DECLARED = [*declared()]
OPTIONS = [
    (words, parameter.opts[0], parameter.is_flag, parameter.metavar)
    for words, parameter in DECLARED
    if parameter.param_type_name == "option"
]
# What no number, address or name of a closed set can be, however it is read.
WRONG = ("wrong value", "", "nan", "-1e999", "9" * 5_000, "0x", "\u0663\u0663\ud800", "a\nb\x1b[2J")
# Of these no value in WRONG is right.
CLOSED = (
    *("N", "HOST:PORT", "probe|refuse", "decimal|hex", "host|equipment", "active|passive"),
    *("NETWORK", "FAULT"),
)


def needed(words: tuple[str, ...], folder: Path) -> list[str]:
    """The arguments without which a command says only that they are missing."""
    scenario, tools = folder / "scenario.toml", folder / "some-tools.toml"
    scenario.write_text(SCENARIO.format("host"), encoding="utf-8")
    tools.write_text(TOOLS.format(1), encoding="utf-8")
    return {
        ("completion",): ["bash"],
        ("connect",): [HOST, "1"],
        ("fleet",): ["--tools", str(tools), "--store", f"redis://{HOST}:1"],
        ("health",): ["1"],
        ("listen",): [HOST, "1"],
        ("monitor",): [os.devnull],
        ("proxy",): ["--to", f"{HOST}:1"],
        ("record", "from-pcap"): [os.devnull],
        ("record", "show"): [os.devnull],
        ("record", "to-pcap"): [os.devnull, "-o", str(folder / "out.pcap")],
        ("replay",): [os.devnull, HOST, "1", "--as", "host"],
        ("run",): [str(scenario), HOST, "1"],
        ("settings", "check"): [os.devnull],
        ("sml", "check"): [os.devnull],
        ("sml", "format"): [os.devnull],
        ("sml", "from-log"): [os.devnull],
    }.get(words, [])


@pytest.fixture
def never_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command is read and checked, and what it would do is not done."""
    monkeypatch.setattr(process, "run", lambda _: 0)
    monkeypatch.chdir(tmp_path)


def test_the_options_of_all_commands_are_seen() -> None:
    assert {words[0] for words, _, _, _ in OPTIONS} | {"completion"} == {*COMMANDS}
    assert {("connect",), ("sml", "from-log"), ("settings", "show")} <= {
        each[0] for each in OPTIONS
    }
    assert len(OPTIONS) > 100


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("words", "option", "is_flag", "metavar"), OPTIONS, ids=lambda each: str(each)[:40]
)
def test_a_wrong_value_is_refused_in_one_line(
    words: tuple[str, ...],
    option: str,
    is_flag: bool,
    metavar: str | None,
    as_json: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    takes_json = any(each[:2] == (words, "--json") for each in OPTIONS)
    more = ["--json"] if as_json and takes_json else []
    for value in WRONG:
        given = [f"{option}={value}"] if option.startswith("--") else [option, value]
        code = cli.main([*words, *needed(words, tmp_path), *more, *given])
        out, errors = capsys.readouterr()
        is_closed = is_flag or metavar in CLOSED or (metavar == "SECONDS" and value != "nan")
        assert code == 2 or (code in (0, 1) and not is_closed), (value[:20], code, out, errors)
        said = out if more else errors
        if code:
            assert said.count("\n") == 1, (value[:20], said)
            assert "\x1b" not in said
        if code and more:
            assert json.loads(said)["exit_code"] == code
            assert errors == ""


# Where it writes

ALL = sorted({words for words, _ in DECLARED} | {(name,) for name in COMMANDS} | {()})
LEAVES = sorted({words for words, parameter in DECLARED if parameter.param_type_name})


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_a_closed_output_is_told_in_one_line(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        for more in ([], ["--help"]):
            assert cli.main([*words, *needed(words, tmp_path), *more]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == ["hsms-engine: cannot write the output: standard output is closed"] * 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_help_that_cannot_be_written_is_told_in_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched, Path("/dev/full").open("w", encoding="utf-8") as full:
        patched.setattr(sys, "stdout", full)
        assert cli.main([*words, "--help"]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert "No space left on device" in said


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_is_plain_in_any_locale_and_on_any_terminal(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.startswith("Usage: hsms-engine")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    options = {each.opts[0] for name, each in DECLARED if name == words} & {
        option for name, option, _, _ in OPTIONS if name == words
    }
    for columns in (40, 60, 80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert cli.main([*words, "--help"]) == 0
        drawn = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
        # An example is one line, which the terminal breaks.
        lines = {each.strip() for each in drawn.splitlines()} - {
            each.strip() for each in NOTES.get(" ".join(words), "").splitlines()
        }
        # Below 50 columns the terminal breaks plain text too, and no name is cut.
        assert max(map(len, lines)) <= max(columns, 50)
        assert "\u2026" not in drawn
        assert {each for each in options if each not in drawn} == set(), columns


@pytest.mark.parametrize(
    "arguments", [["--help"], ["messages", "S10F3"], ["settings", "check", "ä"]]
)
def test_the_locale_c_is_enough(arguments: list[str]) -> None:
    poor = {
        **ENVIRONMENT,
        "LC_ALL": "C",
        "COLUMNS": "40",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    done = run([sys.executable, "-m", "hsms_engine", *arguments], env=poor)
    assert "Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert done.returncode == (2 if "ä" in arguments else 0)


# Examples


def notes() -> Iterator[tuple[str, str]]:
    """The notes of every command, by its words."""
    for name in COMMANDS:
        match import_module(f"hsms_engine.cli.{name}").COMMAND:
            case Group(commands=commands):
                for each in commands:
                    yield f"{name} {each.name or each.run.__name__}", each.notes
            case command:
                yield name, command.notes


NOTES = dict(notes())
EXAMPLES = [
    (words, line.strip())
    for words, text in NOTES.items()
    for line in text.partition("examples:\n")[2].splitlines()
]
# They go on until they are stopped.
SERVERS = re.compile(
    "hsms-engine (fake(?!.* --(check|list))|fleet(?!.* --(check|once))|listen|monitor|proxy)\\b"
    "| --listen "
)
RECORDINGS = (
    *("tool.jsonl.1", "tool.jsonl", "fab.jsonl.1", "fab.jsonl"),
    *("tool-7.jsonl", "monday.jsonl", "tuesday.jsonl", "all.jsonl"),
)
LOG = """\
2026-11-28 08:15:37,027 H->E S1F1 W .
2026-11-28 08:15:37,028 E->H S1F2 <L [0]> .
"""
PRIMARY = "AreYouThere: S1F1 W .\n"


def prepare(folder: Path, port: int, words: str) -> None:
    """The files that the examples name."""
    links = (ROOT / "examples" / "links.toml").read_text(encoding="utf-8")
    texts = {
        "links.toml": links.replace('"10.1.2.3"', f'"{HOST}"').replace("5000", str(port)),
        "tool.sml": PRIMARY,
        "start-up.sml": PRIMARY,
        "events.sml": PRIMARY,
        "library/a.sml": PRIMARY,
        "tools.toml": TOOLS.format(port),
        "tool.log": LOG,
        "start-up.toml": SCENARIO.format("host").replace("'S1F2'", "'S1F2 _'")
        + f"[settings]\nport = {port}\n",
        "tool.toml": SCENARIO.format("equipment")
        if words == "run"
        else (ROOT / "examples" / "tool.toml").read_text(encoding="utf-8"),
    }
    (folder / "library").mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    with zipfile.ZipFile(folder / "tool.zip", "w") as archive:
        archive.write(folder / "tool.sml", "tool.sml")
    (folder / "tool.log.gz").write_bytes(gzip.compress(LOG.encode()))
    frame = encode(data_frame(0, 1, 1, True, 1, b""))
    link = LinkRecord(0.0, 0.0, 1, 1, "etcher-1", f"{HOST}:{port}", "active", {}, {}, {})
    records: list[Record] = [
        head(0.0, 0.0, "id"),
        link,
        FrameRecord(0.0, 0.0, 1, 1, True, frame[4:], len(frame)),
        EndRecord(0.0, 0.0, "closed"),
    ]
    for name in RECORDINGS:
        (folder / name).write_text("".join(map(line_of, records)), encoding="utf-8")
    certificate = issued("tool", HOST)
    pem = [each.bytes() for each in (certificate.private_key_pem, *certificate.cert_chain_pems)]
    (folder / "here.pem").write_bytes(b"".join(pem))
    writer = PcapWriter()
    packets = [packet for each in records for packet in writer.packets(each)]
    (folder / "tool.pcap").write_bytes(PCAP_HEADER + b"".join([*packets, *writer.finish()]))


@contextmanager
def told_health(port: int, where: str) -> Iterator[str]:
    """A program that has the link ``etcher-1``, which is selected, and tells its health."""
    with (
        blocking.open_link(HOST, port, name="etcher-1") as link,
        blocking.serve_health([link], where) as served,
    ):
        link.wait_selected(PATIENCE)
        yield served.where


def usual(primary: Message) -> Message:
    """A reply to anything."""
    return Message(primary.stream, primary.function + 1, item=L())


def test_every_command_has_an_example_in_its_help() -> None:
    assert {*NOTES} == {words for words, _ in EXAMPLES}
    for words, line in EXAMPLES:
        assert f"hsms-engine {words}" in line


@pytest.mark.usefixtures("hearing_ctrl_c")
@pytest.mark.parametrize(("words", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_does_what_it_says(
    words: str,
    line: str,
    tmp_path: Path,
    shim: dict[str, str],
    fake_equipments: FakeEquipments,
) -> None:
    port = fake_equipments(answer=usual, check_session_id=False).port
    prepare(tmp_path, port, words)
    with ExitStack() as running:
        if words == "health":
            is_path = "/run/host/health" in line
            where = running.enter_context(
                told_health(port, str(tmp_path / "h") if is_path else "0")
            )
            line = re.sub("/run/host/health|9000", where, line)
        if words == "fleet":
            # A new store gives no lease before one could be over.
            store = f"{running.enter_context(store_server()).url} --lease 1"
            line = line.replace("redis://127.0.0.1", store)
        if not SERVERS.search(line):
            line = re.sub(r"\b5000\b", str(port), line)
            done = run(["bash", "-o", "pipefail", "-c", line], env=shim, cwd=tmp_path)
            # What a file of SML is counted to have is no part of what is made of it.
            said = "" if words.startswith("sml ") else done.stderr
            assert (done.returncode, said) == (0, ""), (done.stdout, done.stderr)
            return
        line = re.sub(r"(--to \S+:)5000", rf"\g<1>{port}", line)
        line = re.sub(r"\b500[01]\b(?! *--to)", "0", line) if words != "proxy" else line
        line = line.replace(":5001", ":0").replace("--health 9000", "--health 0")
        # Tests are heard on this machine only.
        line = line.replace("0.0.0.0", HOST)
        if words in ("fake", "monitor") and "--port" not in line:
            line += " --port 0"
        with subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            env=shim,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            assert process.stdout is not None
            if "--health" in line:
                assert "telling health on 127.0.0.1:" in process.stdout.readline()
            if words == "monitor":
                assert process.stderr is not None
                assert "to see what happens, open http" in process.stderr.readline()
            else:
                begins = "joins the fleet" if words == "fleet" else "listening"
                assert begins in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
        assert errors == ""
        assert process.returncode == (130 if words in {"run", "replay"} else 0)


# Ctrl-C


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_an_interrupted_command_says_nothing_of_python(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "run", interrupted)
    assert cli.main([*words, *needed(words, tmp_path)]) == 130
    assert capsys.readouterr().err == ""


def opened_for(program: subprocess.Popen[bytes], fifo: Path) -> int:
    """The end for writing of a FIFO that the program has opened for reading."""
    while program.poll() is None:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            with suppress(subprocess.TimeoutExpired):
                program.wait(timeout=0.01)
    pytest.fail(f"it ended with {program.returncode}")


@pytest.mark.usefixtures("hearing_ctrl_c")
@pytest.mark.parametrize(
    "line",
    [
        "bounds --config FIFO",
        "connect --config FIFO",
        "fake FIFO",
        "run FIFO",
        "settings check FIFO",
        "settings show FIFO",
    ],
)
def test_ctrl_c_ends_a_command_that_reads_a_file_which_has_no_end(
    line: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = line.replace("FIFO", str(fifo)).split()
    with subprocess.Popen(
        [sys.executable, "-m", "hsms_engine", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as program:
        writer = opened_for(program, fifo)
        program.send_signal(signal.SIGINT)
        out, errors = program.communicate(timeout=PATIENCE)
        os.close(writer)
    assert (program.returncode, out, errors) == (130, b"", b"")


@pytest.mark.usefixtures("hearing_ctrl_c")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("words", [("connect",), ("health",), ("run",)], ids=" ".join)
def test_ctrl_c_ends_a_command_that_waits_for_a_silent_peer(
    words: tuple[str, ...], count: int, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(PATIENCE)
        port = str(listener.getsockname()[1])
        given = [port if each == "1" else each for each in needed(words, tmp_path)]
        with subprocess.Popen(
            [sys.executable, "-m", "hsms_engine", *words, *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=ENVIRONMENT,
        ) as program:
            connection, _ = listener.accept()
            with connection:
                for _ in range(count):
                    program.send_signal(signal.SIGINT)
                out, errors = program.communicate(timeout=PATIENCE)
    assert program.returncode in (130, -signal.SIGINT)
    assert len((out + errors).splitlines()) <= 1

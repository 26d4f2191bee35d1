"""The certificates of ``examples/certificates.py`` work, and only for what they are made."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from hsms_engine import ConnectError, HsmsServer, Settings, open_hsms, serve_hsms
from hsms_engine.messages import S1F1
from tests.support.pair import echo
from tests.support.tools import needs

ROOT = Path(__file__).parent.parent
PROFILES = """
[defaults]
tls_authorities = "certificates/authority.pem"

[link.tool]
host = "127.0.0.1"
port = 0
tls_certificate = "certificates/tool.example.pem"
tls_key = "certificates/tool.example-key.pem"
tls_sessions = ["host-1.example=0"]
allowed_networks = ["127.0.0.0/8"]

[link.host]
host = "127.0.0.1"
tls_certificate = "certificates/host-1.example.pem"
tls_key = "certificates/host-1.example-key.pem"

[link.wrong]
host = "127.0.0.1"
tls_certificate = "certificates/tool.example.pem"
tls_key = "certificates/tool.example-key.pem"
"""


def test_without_openssl_it_says_so(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "examples/certificates.py"), str(tmp_path)]
    nothing = {**os.environ, "PATH": str(tmp_path)}
    run = subprocess.run(
        words, capture_output=True, encoding="utf-8", env=nothing, check=False, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr == "the program openssl is needed, and is not in the PATH\n"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of links, and the certificates beside it."""
    needs("openssl")
    folder = tmp_path_factory.mktemp("plant")
    program = [sys.executable, str(ROOT / "examples/certificates.py"), f"{folder}/certificates"]
    printed = ""
    for names in (["--tool", "tool.example,127.0.0.1"], ["--host", "host-1.example"]):
        run = subprocess.run(
            [*program, *names], capture_output=True, encoding="utf-8", check=True, timeout=60
        )
        printed = run.stdout
    assert len(printed.splitlines()) == 6
    for key in (folder / "certificates").glob("*-key.pem"):
        assert not stat.S_IMODE(key.stat().st_mode) & 0o077
    file = folder / "links.toml"
    file.write_text(PROFILES, encoding="utf-8")
    return file


async def test_a_plant_with_these_certificates_runs(profiles: Path) -> None:
    async with trio.open_nursery() as nursery:
        tool = Settings.from_toml(profiles, "tool")
        server: HsmsServer = await nursery.start(partial(serve_hsms, echo, tool))
        host = Settings.from_toml(profiles, "host").replace(port=server.port)
        async with open_hsms(host) as connection:
            assert (await connection.request(S1F1())).name == "S1F2"
            assert connection.peer_certificate is not None
            assert connection.peer_certificate.names == ("tool.example", "127.0.0.1")
        async with open_hsms(host.replace(tls_name="tool.example")) as connection:
            assert connection.is_selected
        with pytest.raises(ConnectError, match="it is for another name"):
            async with open_hsms(host.replace(tls_name="host-1.example")):
                pass
        wrong = Settings.from_toml(profiles, "wrong").replace(port=server.port)
        with pytest.raises(ConnectError, match="the peer refuses the certificate of this end"):
            async with open_hsms(wrong):
                pass
        nursery.cancel_scope.cancel()


def test_the_programs_take_them(profiles: Path) -> None:
    folder = profiles.parent / "certificates"
    common = ["--json", "--tls-authorities", f"{folder}/authority.pem"]
    theirs = ["--tls-certificate", f"{folder}/tool.example.pem"]
    theirs += ["--tls-key", f"{folder}/tool.example-key.pem"]
    theirs += ["--allow", "127.0.0.0/8", "--allow", "::1", "--tls-session", "host-1.example=0"]
    program = [sys.executable, "-m", "hsms_engine", "fake", "--port", "0", *common, *theirs]
    fake = subprocess.Popen(program, stdout=subprocess.PIPE, encoding="utf-8")
    try:
        assert fake.stdout is not None
        port = json.loads(fake.stdout.readline())["port"]
        connect = [sys.executable, "-m", "hsms_engine", "connect", "127.0.0.1", str(port), *common]
        connect += ["--send", "S1F1", "--tls-name", "tool.example"]
        mine = ["--tls-certificate", f"{folder}/host-1.example.pem"]
        mine += ["--tls-key", f"{folder}/host-1.example-key.pem"]
        for options, code in ((mine, 0), ([], 1)):
            run = subprocess.run(
                [*connect, *options],
                capture_output=True,
                encoding="utf-8",
                check=False,
                timeout=60,
            )
            assert run.returncode == code, run.stdout + run.stderr
            told = [json.loads(line) for line in run.stdout.splitlines()]
            if code:
                assert "the peer wants a certificate of this end" in told[-1]["error"]
            else:
                assert [each["event"] for each in told] == ["selected", "reply", "separated"]
    finally:
        fake.terminate()
        fake.communicate(timeout=60)

"""A real process that is stopped, while its lease is over, hands on no byte when it goes on.

The machine "sleeps" by a file, so no time is waited for: see ``tests/support/stopped_owner``.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent


def take(peer: socket.socket, count: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < count:
        piece = peer.recv(min(count - len(data), 1_000_000))
        assert piece
        data += piece
    return data


@pytest.mark.parametrize("slept", [588, 100_000])
@pytest.mark.parametrize("sends", [False, True])
def test_no_byte_comes_after_a_stop_that_was_longer_than_the_lease(
    tmp_path: Path, slept: float, *, sends: bool
) -> None:
    if sys.platform == "win32":
        pytest.skip("no process can be stopped there")
    file = tmp_path / "slept"
    file.write_text("0", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        words = (sys.executable, "-m", "tests.support.stopped_owner", listener.getsockname()[1])
        with subprocess.Popen(
            [*map(str, words), str(file), *(["sends"] if sends else [])],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            assert process.stdout is not None
            try:
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(PATIENCE)
                    select_req = take(peer, 14)
                    system = select_req[10:]
                    peer.sendall(struct.pack(">IHBBBB", 10, 0xFFFF, 0, 0, 0, 2) + system)
                    taken = int(process.stdout.readline())
                    # It stops itself then.
                    _, status = os.waitpid(process.pid, os.WUNTRACED)
                    assert os.WIFSTOPPED(status)
                    take(peer, taken - len(select_req))
                    file.write_text(str(slept), encoding="utf-8")
                    process.send_signal(signal.SIGCONT)
                    # Not one byte before the reset, though there was room, and much waited.
                    with pytest.raises(ConnectionResetError):
                        peer.recv(1)
                assert not sends or "TOOL-7" in process.stdout.readline()
                assert int(process.stdout.readline()) > 0
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()

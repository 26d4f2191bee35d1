"""Two machines and what is between them, as network namespaces that a test makes and removes.

    host 10.77.1.2 -- 10.77.1.1 middle 10.77.2.1 -- 10.77.2.2 equipment

The middle one forwards, or hands every packet to ``relay``. Names carry the id of the process that
made them. A guard removes them when that process closes them *or is gone*; what a guard that was
killed too has left is removed by the next run (``remove_stale``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Literal

from tests.support.tools import PACKAGES

End = Literal["host", "equipment"]

ADDRESS: dict[End, str] = {"host": "10.77.1.2", "equipment": "10.77.2.2"}
OUTSIDE = "10.77.2.1"
"""The address of the middle on the equipment's side: a NAT's."""
DEAD = "10.77.3.3"
"""Packets to it are dropped without a word."""
NAME = "equipment.test"
"""With ``two_addresses``: a name that has ``DEAD`` first."""
PORT = 5000
TUN = "way"
PROGRAMS = ("ip", "nft")

_DEVICE: dict[End, str] = {"host": "to-host", "equipment": "to-equipment"}
_ROUTER: dict[End, str] = {"host": "10.77.1.1", "equipment": OUTSIDE}
_PREFIX = "hsms-engine"
_NAME = re.compile(rf"{_PREFIX}-(?P<pid>\d+)-\d+-\w+")
_FOLDER = Path("/etc/netns")
_number = count()

# Kills what runs in the namespaces, then removes them. It waits for the end of its input first.
_REMOVE = """
cat > /dev/null
for name in "$@"; do
    ip netns pids "$name" 2> /dev/null | xargs -r kill -9
    ip netns del "$name" 2> /dev/null
    rm -rf "/etc/netns/$name"
done
"""


def why_not() -> str | None:
    """Why no namespaces can be made here, or None. A missing program is said with its package."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not installed: install the package {PACKAGES[program]}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    name = f"{_PREFIX}-{os.getpid()}-{next(_number)}-try"
    made = _run("ip", "netns", "add", name, check=False)
    _run("ip", "netns", "del", name, check=False)
    return f"no network namespace can be made: {made.stderr.strip()}" if made.returncode else None


def remove_stale() -> list[str]:
    """Remove the namespaces of processes that are gone, and return their names."""
    stale = [
        found[0]
        for line in _run("ip", "netns", "list").stdout.splitlines()
        if (found := _NAME.match(line)) and not Path(f"/proc/{found['pid']}").exists()
    ]
    subprocess.run(["sh", "-c", _REMOVE, "sh", *stale], stdin=subprocess.DEVNULL, check=True)
    return stale


class Network:
    """The three namespaces. ``with`` makes and removes them."""

    def __init__(self) -> None:
        stem = f"{_PREFIX}-{os.getpid()}-{next(_number)}"
        self.host, self.middle, self.equipment = (
            f"{stem}-{each}" for each in ("host", "middle", "equipment")
        )

    def name(self, end: End) -> str:
        return self.host if end == "host" else self.equipment

    def exec(self, namespace: str, *words: str) -> list[str]:
        """The command that runs ``words`` in a namespace."""
        return ["ip", "netns", "exec", namespace, *words]

    def run(self, namespace: str, *words: str) -> str:
        """Run a program in a namespace. Raises ``CalledProcessError``."""
        return _run(*self.exec(namespace, *words)).stdout

    def rules(self, *rules: str) -> None:
        """Commands of nft in the middle; the table is ``t``."""
        _run(*self.exec(self.middle, "nft", "-f", "-"), text="\n".join(rules))

    def system(self, namespace: str, **values: int) -> None:
        """Set values below /proc/sys/net; ``__`` in a name is a slash."""
        for name, value in values.items():
            path = f"/proc/sys/net/{name.replace('__', '/')}"
            self.run(namespace, "sh", "-c", f"echo {value} > {path}")

    # Making

    def make(self) -> None:
        _run("ip", "netns", "add", self.middle)
        self.system(
            self.middle,
            ipv4__ip_forward=1,
            ipv4__conf__all__rp_filter=0,
            ipv4__conf__default__rp_filter=0,
        )
        for end in ADDRESS:
            self.attach(end)
        # Every chain that a fault may use; what is counted is read by ``resets``.
        self.rules(
            "add table ip t",
            "add chain ip t guard { type filter hook prerouting priority -300; }",
            "add chain ip t forward { type filter hook forward priority 0; }",
            "add chain ip t input { type filter hook input priority 0; }",
            "add chain ip t output { type filter hook output priority 0; }",
            "add chain ip t nat { type nat hook postrouting priority 100; }",
            "add chain ip t count { type filter hook prerouting priority -310; }",
            *(
                f"add rule ip t count iifname {device} tcp flags & rst == rst counter"
                for device in _DEVICE.values()
            ),
            f"add rule ip t guard ip daddr {DEAD} drop",
        )

    def attach(self, end: End) -> None:
        """Make the machine of this end, and its cable."""
        name, device = self.name(end), _DEVICE[end]
        _run("ip", "netns", "add", name)
        _batch(
            f"link add {device} netns {self.middle} type veth peer name eth0 netns {name}",
            f"-n {self.middle} address add {_ROUTER[end]}/24 dev {device}",
            f"-n {self.middle} link set {device} up",
        )
        for line in (
            "link set lo up",
            f"address add {ADDRESS[end]}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {_ROUTER[end]}",
        ):
            _run("ip", "-n", name, *line.split())

    def detach(self, end: End) -> None:
        """The machine is gone at once: nothing that it holds can be sent any more."""
        _run("ip", "-n", self.middle, "link", "del", _DEVICE[end])

    def forget(self, end: End) -> None:
        """Remove a machine that is detached and whose programs have ended."""
        _run("ip", "netns", "del", self.name(end))

    def cable(self, end: End, state: Literal["up", "down"]) -> None:
        """Pull the cable of an end out of the middle, or put it back: the end loses its carrier."""
        _run("ip", "-n", self.middle, "link", "set", _DEVICE[end], state)

    def two_addresses(self) -> None:
        """The host's machine knows the equipment as ``NAME``, with a dead address before it."""
        folder = _FOLDER / self.host
        folder.mkdir(parents=True, exist_ok=True)
        hosts = f"127.0.0.1 localhost\n{DEAD} {NAME}\n{ADDRESS['equipment']} {NAME}\n"
        (folder / "hosts").write_text(hosts, "ascii")

    def through_relay(self) -> None:
        """Route what both ends send into the relay's device, which must be there."""
        for number, device in enumerate(_DEVICE.values(), 100):
            rule = f"rule add priority {number} iif {device} lookup 100"
            _run("ip", "-n", self.middle, *rule.split())
        _run("ip", "-n", self.middle, "link", "set", TUN, "up")
        _run("ip", "-n", self.middle, *f"route add default dev {TUN} table 100".split())

    def mtu(self, size: int) -> None:
        """The longest packet that the relay's way takes."""
        _run("ip", "-n", self.middle, "link", "set", TUN, "mtu", str(size))

    def resets(self, end: End) -> int:
        """How many packets with RST this end has sent."""
        listed = self.run(self.middle, "nft", "list", "chain", "ip", "t", "count")
        (line,) = (each for each in listed.splitlines() if f'"{_DEVICE[end]}"' in each)
        found = re.search(r"packets (\d+)", line)
        assert found is not None, line
        return int(found[1])


@contextmanager
def network() -> Iterator[Network]:
    """Three namespaces for as long as the block, or the process."""
    made = Network()
    names = (made.host, made.middle, made.equipment)
    # In a session of its own: Ctrl-C is not for it.
    guard = subprocess.Popen(
        ["sh", "-c", _REMOVE, "sh", *names], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        made.make()
        yield made
    finally:
        guard.communicate()


def _batch(*lines: str) -> None:
    for line in lines:
        _run("ip", *line.split())


def _run(
    *words: str, text: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, input=text, capture_output=True, encoding="utf-8", check=False)
    if check and done.returncode:
        command: Sequence[str] = words
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done

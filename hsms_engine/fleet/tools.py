"""The tools of a fleet: a name and settings for each, from a file or from a program.

The file is a file of links (``hsms_engine.profiles``), the same for all programs, and each link in
it is a tool::

    [defaults]                  # of every tool
    port = 5000
    t3 = 60

    [profile.far]
    connect_timeout = 20

    [link.ETCHER-1]
    host = "10.1.2.3"

    [link.STEPPER-2]
    profile = "far"
    host = "10.1.2.4"

Invariants:

* No two tools have one address: an HSMS tool takes one host, and two links to it would be two.
* Each name can stand in the name of a stream, and in a pattern of the store's access list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from os import PathLike
from typing import Final

from hsms_engine.errors import SettingsError
from hsms_engine.profiles import TEXTS, Profiles
from hsms_engine.settings import Settings
from hsms_engine.toml_file import Problems, TomlError, load, shown

__all__ = ["MOST_TOOLS", "Tools"]

MOST_TOOLS: Final = 10_000
"""The most tools of a fleet."""
# The longest file of tools, in bytes: each tool may have some settings of its own.
_LONGEST_FILE: Final = 8_000_000
_LONGEST_NAME: Final = 64
_NAME: Final = re.compile(rf"[\w-][\w.-]{{0,{_LONGEST_NAME - 1}}}")
_NAMES: Final = f"it is up to {_LONGEST_NAME} letters, digits, '_', '-' and '.', the first no '.'"


class Tools(Mapping[str, Settings]):
    """The settings of each tool, by its name. It never changes.

    Raises ``SettingsError``, one line for each problem: no tool, too many of them, a name that
    cannot be one, or two tools at one address.
    """

    def __init__(self, tools: Mapping[str, Settings]) -> None:
        found = [why for _, why in _problems(tools)]
        if found:
            raise SettingsError("\n".join(found))
        self._tools: Final = dict(tools)

    @classmethod
    def from_toml(cls, file: str | PathLike[str]) -> Tools:
        """The tools of a file.

        Raises ``SettingsError``, one line for each problem: file, line, column, what is wrong.
        """
        try:
            document = load(file, _LONGEST_FILE, TEXTS)
            links = Profiles(document).links
            with Problems() as problems:
                for name, why in _problems(links):
                    key = () if name is None else ("link", name)
                    problems.keep(document.error(key, why, at_name=True))
        except TomlError as error:
            raise SettingsError(str(error)) from error
        return cls(links)

    def __getitem__(self, name: str) -> Settings:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        return f"<Tools: {len(self)}>"

    @cached_property
    def digest(self) -> str:
        """The same for the same names: processes that share tools out need the same ones."""
        names = "\n".join(sorted(self._tools))
        return blake2b(names.encode(), digest_size=8).hexdigest()


def is_tool_name(name: str) -> bool:
    """Whether a tool, or a process, may have this name."""
    return _NAME.fullmatch(name) is not None


def expect_name(what: str, name: object) -> None:
    """Raises ``SettingsError`` when ``name`` cannot be that of a tool or of a process."""
    if not isinstance(name, str) or not is_tool_name(name):
        raise SettingsError(f"{shown(name)} is no name of {what}: {_NAMES}")


def _problems(tools: Mapping[str, Settings]) -> Iterator[tuple[str | None, str]]:
    """What is wrong with these tools, and with which of them; None: with all."""
    if not tools:
        yield None, "a fleet has a tool at least, and here is none: write [link.NAME]"
    if len(tools) > MOST_TOOLS:
        yield None, f"these are {len(tools)} tools, and a fleet has at most {MOST_TOOLS}"
    addresses: dict[tuple[str, int], str] = {}
    for name, settings in tools.items():
        if not is_tool_name(name):
            yield name, f"{shown(name)} is no name of a tool: {_NAMES}"
        address = _plain(settings.host), settings.port
        other = addresses.setdefault(address, name)
        if other != name:
            where = f"{settings.host}:{settings.port}"
            yield name, f"{shown(name)} and {shown(other)} are two tools at one address, {where}"


def _plain(host: str) -> str:
    """One of the ways in which the same host can be written."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().removesuffix(".")
        return "127.0.0.1" if name == "localhost" else name
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).compressed

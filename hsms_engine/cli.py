"""The command line: a fake equipment, and a client that sends messages to an equipment.

Exit codes: 0 done; 1 it did not work (the network, the peer); 2 it was asked for wrongly;
130 interrupted. Each failure is one line on standard error. Standard output is written line by
line; what ``connect`` prints there is SML, with comments, or one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection, open_hsms
from hsms_engine.driver.tcp import address_text
from hsms_engine.errors import HsmsError
from hsms_engine.fake.behaviours import Behaviours, listing
from hsms_engine.fake.emissions import emissions
from hsms_engine.fake.program import run_fake
from hsms_engine.message import Message
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.secs2 import DecodeError
from hsms_engine.settings import Settings
from hsms_engine.sml import SmlError
from statecharts.hsms import timers

_T = TypeVar("_T")

_TIMERS = (timers.T3, timers.T5, timers.T6, timers.T7, timers.T8)
_INTERRUPTED = 130
# What a host says to an equipment that speaks first; it aborts the rest with SxF0.
_HOST_ANSWERS = "S1F2 <L> . S1F14 <L <B 0> <L>> . S5F2 <B 0> . S6F12 <B 0> ."

_FAKE_TEXT = f"""\
behaviours:
{listing()}

Behaviours combine: --behaviour delay-replies=0.5 --behaviour drop-replies=3
"""
_CONNECT_TEXT = """\
examples:
  hsms-engine connect 127.0.0.1 5000
  hsms-engine connect 127.0.0.1 5000 --send S1F1 --send S1F13 --count 3
  hsms-engine connect 127.0.0.1 5000 --send 'S2F41 W <L [2] <A "START"> <L [0]>> .'
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a program and return its exit code. ``argv`` defaults to the command line."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, and nothing is left to be said.
        return 1


# Options


def _checked(convert: Callable[[str], _T], what: str) -> Callable[[str], _T]:
    def read(text: str) -> _T:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return read


_seconds = _checked(float, "a number of seconds")


def _in_range(lowest: int, highest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        number = int(text)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return _checked(convert, f"a whole number in {lowest}..{highest}")


def _to_send(text: str) -> Message:
    """A primary with W, as SML."""
    try:
        message = Message.parse(text)
    except SmlError as error:
        place = f"line {error.line}, column {error.column}"
        raise argparse.ArgumentTypeError(f"{text!r}, {place}: {error.problem}") from None
    if not message.is_primary:
        raise argparse.ArgumentTypeError(
            f"{message.name} is a secondary: give a primary (odd function), as S1F1"
        )
    return Message(message.stream, message.function, True, message.item)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--session-id",
        type=_in_range(0, 32_767),
        default=0,
        metavar="N",
        help="the device id (0..32767, default: 0)",
    )
    for timer in _TIMERS:
        parser.add_argument(
            f"--{timer.id}",
            type=_seconds,
            default=timer.seconds,
            metavar="SECONDS",
            help=f"{timer.meaning} ({timer.lowest:g}..{timer.highest:g}, default: %(default)g)",
        )
    parser.add_argument(
        "--linktest",
        type=_seconds,
        default=timers.LINKTEST_INTERVAL.seconds,
        metavar="SECONDS",
        help="silence after which a linktest is sent, 0 for never (default: %(default)g)",
    )
    parser.add_argument(
        "--allow-short-timers",
        action="store_true",
        help="for tests: let timers be shorter than E37's ranges, down to 1 ms",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("hsms-engine", description="HSMS (SEMI E37) from the command line.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, meaning: str, text: str, run: Callable[[Any], int]) -> _Parser:
        added = commands.add_parser(
            name,
            help=meaning,
            description=f"{meaning[0].upper()}{meaning[1:]}.",
            epilog=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run, prog=added.prog)
        return added

    fake = add("fake", "be an equipment that is not there, until SIGINT", _FAKE_TEXT, _fake)
    fake.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    fake.add_argument(
        "--port",
        type=_in_range(0, 65_535),
        default=5000,
        metavar="N",
        help="the port to listen on; 0 lets the system choose (default: %(default)s)",
    )
    fake.add_argument(
        "--behaviour",
        action="append",
        default=[],
        metavar="NAME[=ARG]",
        help="what it does wrong, see below; may be repeated",
    )
    fake.add_argument(
        "--answers", metavar="FILE", help="an SML file of replies, in place of the one shipped"
    )
    fake.add_argument(
        "--alarms", type=_seconds, metavar="SECONDS", help="send S5F1 this often while selected"
    )
    fake.add_argument(
        "--events", type=_seconds, metavar="SECONDS", help="send S6F11 this often while selected"
    )
    fake.add_argument("--quiet", action="store_true", help="print connections, not messages")
    _add_common(fake)

    connect = add("connect", "connect, select, send, print replies as SML", _CONNECT_TEXT, _connect)
    connect.add_argument("host", metavar="HOST", help="a name or an address")
    connect.add_argument("port", metavar="PORT", type=_in_range(1, 65_535), help="1..65535")
    connect.add_argument(
        "--send",
        action="append",
        default=[],
        type=_to_send,
        metavar="SML",
        help="a primary to send, always with W; may be repeated",
    )
    connect.add_argument(
        "--count",
        type=_in_range(1, 1_000_000_000),
        default=1,
        metavar="N",
        help="send all of them N times (default: 1)",
    )
    _add_common(connect)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        host=options.host,
        port=options.port,
        session_id=options.session_id,
        linktest_interval=options.linktest or None,
        allow_short_timers=options.allow_short_timers,
        **{timer.id: getattr(options, timer.id) for timer in _TIMERS},
    )


def _fail(options: argparse.Namespace, why: object, code: int) -> int:
    print(f"{options.prog}: {why}", file=sys.stderr, flush=True)
    return code


# The programs


def _fake(options: argparse.Namespace) -> int:
    try:
        settings = _settings(options)
        Behaviours.parse(options.behaviour)
        emissions(options.alarms, options.events)
        answers = AnswerBook.load(options.answers)
    except (ValueError, OSError) as error:
        return _fail(options, error, 2)

    async def run() -> None:
        await run_fake(
            settings,
            options.behaviour,
            answers,
            alarms=options.alarms,
            events=options.events,
            as_json=options.json,
            quiet=options.quiet,
        )

    try:
        trio.run(run)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = address_text((settings.host, settings.port))
        return _fail(options, f"cannot listen on {where}: {error.strerror or error}", 1)
    return 0


def _connect(options: argparse.Namespace) -> int:
    try:
        settings = _settings(options)
    except ValueError as error:
        return _fail(options, error, 2)

    async def run() -> None:
        tell = _tell_json if options.json else _tell_sml
        async with open_hsms(settings) as connection:
            tell("selected", connection.peer, None)
            async with open_bare_nursery() as nursery:
                nursery.start_soon(_take_primaries, connection, tell)
                for _ in range(options.count):
                    for message in options.send:
                        tell("reply", connection.peer, await connection.request(message))
                nursery.cancel_scope.cancel()
        tell("separated", connection.peer, None)

    try:
        trio.run(run)
    except (HsmsError, _NotSecsError) as error:
        return _fail(options, error, 1)
    return 0


Tell = Callable[[str, str, Message | None], None]


async def _take_primaries(connection: HsmsConnection, tell: Tell) -> None:
    """Answer what the equipment says unasked."""
    answers = AnswerBook.parse(_HOST_ANSWERS)
    try:
        async for primary in connection:
            tell("received", connection.peer, primary)
            if primary.wait:
                answer = answers.answer(primary) or Message(primary.stream, 0)
                await connection.reply(primary, answer)
    except HsmsError:
        # The request that waits meets the same end and says so.
        return


class _NotSecsError(Exception):
    """A reply whose body does not decode."""


def _reply_sml(message: Message) -> str:
    try:
        return message.sml()
    except DecodeError as error:
        size = len(message.body)
        raise _NotSecsError(
            f"{message.name}: a body of {size} bytes that is no SECS-II: {error}"
        ) from error


def _sml(message: Message) -> str:
    """What the equipment says unasked as SML, or as a comment that says why it is none."""
    try:
        return _reply_sml(message)
    except _NotSecsError as error:
        return f"// {error}"


def _tell_sml(event: str, peer: str, message: Message | None) -> None:
    if message is None:
        print(f"// {event}: {peer}", flush=True)
    elif event == "reply":
        print(_reply_sml(message), flush=True)
    else:
        print(f"// {event} from {peer}:\n{_sml(message)}", flush=True)


def _tell_json(event: str, peer: str, message: Message | None) -> None:
    told = {"event": event, "peer": peer}
    if message is not None:
        sml = _reply_sml(message) if event == "reply" else _sml(message)
        told |= {"message": message.name, "sml": sml}
    print(json.dumps(told), flush=True)

"""TLS over a stream, with the send that never waits: ``ssl`` works on memory, the stream on bytes.

Invariants:

* Bytes that were encrypted are sent once and in order. Those that the stream below has not taken
  wait in ``_out``, which is bounded, and their plain text is not told as taken: to the caller a
  stream of TLS is one of TCP that is a little slower. What it has not taken it gives again.
* Only the peer's close_notify is the end. When TCP ends without it, somebody may have cut off the
  rest: that is told as a break.
* A handshake costs its peer's connection, and no other: it is in the task of that connection, reads
  at most ``_LONGEST_HANDSHAKE`` bytes, and of all handshakes one makes its next step in each pass
  of the event loop.
"""

from __future__ import annotations

import ssl
from collections import ChainMap, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import trio

from hsms_engine.driver.dialling import HELD, Began, GiveBack
from hsms_engine.driver.tcp import (
    BROKEN,
    PatientDial,
    Resettable,
    Stream,
    addresses_of,
    system_error,
)
from hsms_engine.driver.tls_files import TlsChoice, wrapped
from hsms_engine.settings import Settings
from statecharts.nursery import open_bare_nursery

# Plain text that is encrypted at once, and the most that may wait encrypted: that, what TLS adds,
# and what it answers by itself.
_PIECE, _MOST_OUT = 65_536, 131_072
# Bytes of a handshake, or of records without data, that a peer may send.
_LONGEST_HANDSHAKE = _LONGEST_WITHOUT_DATA = 65_536
# Of a ClientHello; those of today have 0.3 to 2 kB. Its length is in the first bytes.
_LONGEST_HELLO, _SAYS_LENGTH = 8_192, 9
_RECEIVE = 16_384
# The bytes before a record: its kind, its version, and its length in the last two.
_HEAD = 5
# Records of TLS that a peer may begin with: a handshake, or an alert.
_FIRST = (22, 21)


class TlsError(OSError):
    """Why a connection of TLS does not come up, or cannot go on, in words."""


# Who the peer is


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a peer has proved to be. ``names`` are those in its certificate, the first its main one.

    They are the host names, addresses and URIs for which it is made (SAN), and then its common
    name. ``serial`` is in hexadecimal, ``not_after`` as OpenSSL writes it.
    """

    names: tuple[str, ...]
    serial: str
    not_after: str

    @property
    def name(self) -> str:
        """Its main name; empty when it has none."""
        return self.names[0] if self.names else ""


def _certificate(inside: ssl.SSLObject) -> PeerCertificate | None:
    """The certificate of a peer that was verified. Raises ``TlsError`` for one nobody can read."""
    try:
        found: Any = inside.getpeercert()
    except ValueError as error:
        raise TlsError(
            f"the certificate of the peer has a name that is no text: make it a new one ({error})"
        ) from None
    if not found:
        return None
    # A name in a directory is no text, and names nobody here.
    names = [value for _, value in found.get("subjectAltName", ()) if isinstance(value, str)]
    common = [
        value for part in found.get("subject", ()) for key, value in part if key == "commonName"
    ]
    return PeerCertificate(
        tuple(dict.fromkeys([*names, *common])), found["serialNumber"], found["notAfter"]
    )


# The handshake

_STEPS: trio.lowlevel.RunVar[trio.Lock] = trio.lowlevel.RunVar("hsms_engine.handshakes")


def _steps() -> trio.Lock:
    """Who makes the next step of a handshake, in this trio run: each in its turn."""
    try:
        return _STEPS.get()
    except LookupError:
        _STEPS.set(made := trio.Lock())
        return made


async def secure(
    stream: Stream, context: ssl.SSLContext, *, listens: bool, name: str = ""
) -> TlsStream:
    """Make TLS of a stream that is connected. ``name``: what the certificate of the peer is for.

    The deadline is the caller's, and so is the stream when this raises or is cancelled. Raises
    ``TlsError``, or what the stream raises.
    """
    try:
        made = TlsStream(stream, *wrapped(context, listens, name), listens=listens)
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"TLS cannot begin with the name {name!r}: {error}") from None
    await made._shake_hands()
    return made


_OR_NO_TLS = "it may speak HSMS without TLS, or refuse this end, which its log may tell"


async def dial_tls(
    dial: PatientDial, began: Began, choice: TlsChoice, settings: Settings
) -> tuple[Stream, GiveBack, PeerCertificate | None]:
    """Dial, and make TLS of the stream if that is chosen.

    Raises what ``dial`` raises, or ``TlsError``. When it raises or is cancelled, no stream stays
    open.
    """
    notes: dict[str, str] = {}

    def begin(tried: Mapping[str, str]) -> None:
        began(ChainMap(notes, tried))  # type: ignore[arg-type]  # it is only read

    stream, give_back = await dial(begin)
    try:
        context = choice.context(settings)
        if context is None:
            return stream, give_back, None
        notes[settings.host] = (
            "TCP is open, and the TLS handshake is not over: it may speak HSMS without TLS"
        )
        name = settings.peer_name
        async with open_bare_nursery() as nursery:
            nursery.start_soon(_give_back_later, give_back)
            secured = await secure(stream, context, listens=False, name=name)
            nursery.cancel_scope.cancel()
    except BaseException:
        # Also when it is cancelled: nobody else has the stream yet.
        give_back()
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
        raise
    return secured, give_back, secured.peer_certificate


async def _give_back_later(give_back: GiveBack) -> None:
    await trio.sleep(HELD)
    give_back()


class TlsStream(trio.abc.HalfCloseableStream):
    """A stream over another one, which ``secure`` makes."""

    def __init__(
        self,
        stream: Stream,
        inside: ssl.SSLObject,
        received: ssl.MemoryBIO,
        out: ssl.MemoryBIO,
        *,
        listens: bool,
    ) -> None:
        self._stream = stream
        self._send_nowait: Callable[[bytes | memoryview], int] | None = getattr(
            stream, "send_nowait", None
        )
        self._ssl = inside
        # That of the peer, verified; None when it has none.
        self.peer_certificate: PeerCertificate | None = None
        self._bio_in, self._bio_out = received, out
        self._listens = listens
        # Encrypted bytes that the stream below has not taken, and how many there are.
        self._out: deque[memoryview] = deque()
        self._out_size = 0
        # Plain text that is encrypted and not told as taken; bytes that were sent since then.
        self._held = self._progress = 0
        # All plain text that was told as taken.
        self._taken = 0
        # Received, and not given to ``ssl``; and how much of a record is still to be given to it.
        self._received = b""
        self._rest_of_record = 0
        # Decrypted before our end was told.
        self._early = bytearray()
        self._without_data = 0
        self._at_end = False
        # Who must read more before it can send.
        self._read_more = trio.lowlevel.ParkingLot()
        # Why it cannot go on; why it cannot send, while what the peer has sent may still come.
        self._broken: str | None = None
        self._unsendable: str | None = None
        self._is_closed = False

    @property
    def local_address(self) -> str:
        """That of this end of the stream below; empty when it is not known."""
        return addresses_of(self._stream)[0]

    @property
    def remote_address(self) -> str:
        """That of the peer."""
        return addresses_of(self._stream)[1]

    async def _shake_hands(self) -> None:
        hello = b""
        # OpenSSL takes memory when it begins, and as much as the first message says it has.
        while self._listens and len(hello) < _SAYS_LENGTH:
            hello += await self._receive_more(len(hello))
        if (length := int.from_bytes(hello[6:_SAYS_LENGTH])) > _LONGEST_HELLO:
            raise TlsError(
                f"the first message of the peer has {length} bytes of at most {_LONGEST_HELLO}"
            )
        received = len(hello)
        while not await self._make_step():
            received += len(await self._receive_more(received))
        self.peer_certificate = _certificate(self._ssl)
        # What came with the end of the handshake, and begins with a record.
        self._received = self._bio_in.read()

    async def _make_step(self) -> bool:
        """One step of the handshake. Whether it was the last one."""
        failed, is_over = "", True
        try:
            async with _steps():
                self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            is_over = False
        except ssl.SSLError as error:
            failed = f"the TLS handshake failed: {_reason(error)}"
        # Where this breaks, what the peer has sent may tell why.
        with suppress(*BROKEN):
            await self._send_out()
        if failed:
            raise TlsError(failed)
        return is_over

    async def _receive_more(self, received: int) -> bytes:
        """More of the handshake, after so many bytes of it."""
        try:
            data = bytes(await self._stream.receive_some(_RECEIVE))
        except BROKEN as error:
            why = f"TCP broke in the TLS handshake ({system_error(error) or error})"
            raise TlsError(f"{why}: {_OR_NO_TLS}") from None
        if not data:
            raise TlsError(f"the peer closed TCP in the TLS handshake: {_OR_NO_TLS}")
        if not received and data[0] not in _FIRST:
            raise TlsError(
                f"the peer does not speak TLS, its first bytes are {bytes(data[:8])!r}: one end "
                "has TLS and the other has not"
            )
        if received + len(data) > _LONGEST_HANDSHAKE:
            raise TlsError(
                f"the peer sent more than {_LONGEST_HANDSHAKE} bytes in its TLS handshake"
            )
        self._bio_in.write(data)
        return bytes(data)

    # Sending

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the stream below takes now: how many bytes of ``data``, perhaps 0.

        What follows those is to be given again. Raises ``trio.BrokenResourceError``.
        """
        self._expect_sendable()
        rest, taken = memoryview(data), 0
        while taken < len(rest):
            self._encrypt(rest[taken:])
            self._send_now()
            count = self._take(len(rest) - taken)
            taken += count
            if self._out_size or not count:
                break
        return taken

    async def send_some(self, data: memoryview) -> int:
        """Wait until the stream below takes some. How many bytes of ``data`` that were."""
        self._expect_sendable()
        if self._encrypt(data):
            await self._send_some_out()
        else:
            await self._read_more.park()
        return self._take(len(data))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            rest = rest[await self.send_some(rest) :]

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    def unacknowledged(self) -> int | None:
        """How many bytes told as taken the peer's system has not acknowledged, or a few more.

        None when the stream below cannot tell. They are counted encrypted, which is more.
        """
        ask: Callable[[], int | None] | None = getattr(self._stream, "unacknowledged", None)
        below = ask() if ask is not None else None
        return None if below is None else min(below + self._out_size, self._taken)

    async def send_eof(self) -> None:
        """Tell the peer that no more follows, and go on receiving."""
        self._expect_sendable()
        # OpenSSL would lose what it has decrypted and was not read.
        while count := self._ssl.pending():
            self._early += self._ssl.read(count)
        self._say_goodbye()
        await self._send_out()
        send_eof: Callable[[], Awaitable[None]] | None = getattr(self._stream, "send_eof", None)
        if send_eof is not None:
            await send_eof()

    def _encrypt(self, data: memoryview) -> bool:
        """Encrypt the beginning of ``data``, unless something waits, or it is encrypted already.

        Returns whether that could be done: amid a message of the peer's TLS nothing can.
        """
        if self._held or self._out_size:
            return True
        end, self._progress = min(len(data), _PIECE), 0
        try:
            while self._held < end:
                self._held += self._ssl.write(data[self._held : end])
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            why = _reason(error)
            raise self._fail(why) from TlsError(why)
        self._fetch_out()
        return True

    def _fetch_out(self) -> None:
        """What ``ssl`` has to send waits for the stream below."""
        if self._bio_out.pending:
            piece = self._bio_out.read()
            self._out.append(memoryview(piece))
            self._out_size += len(piece)

    def _send_now(self) -> None:
        """Send what waits, as far as the stream below takes it at once."""
        while self._out and self._send_nowait is not None:
            with self._noting_a_break():
                count = self._send_nowait(self._out[0])
            if count == len(self._out[0]):
                self._out.popleft()
            elif count:
                self._out[0] = self._out[0][count:]
            else:
                return
            self._count_sent(count)

    async def _send_some_out(self) -> None:
        """Wait until the stream below takes some of what waits, if anything does."""
        if self._send_nowait is not None:
            await self._stream.wait_send_all_might_not_block()
            self._send_now()
        elif self._out:
            piece = self._out.popleft()
            with self._noting_a_break():
                await self._stream.send_all(piece)
            self._count_sent(len(piece))
        else:
            await trio.lowlevel.checkpoint()

    async def _send_out(self) -> None:
        """Wait until the stream below has all that waits."""
        self._fetch_out()
        self._send_now()
        while self._out_size:
            self._expect_sendable()
            await self._send_some_out()

    @contextmanager
    def _noting_a_break(self) -> Iterator[None]:
        try:
            yield
        except BROKEN as error:
            self._unsendable = str(error)
            raise

    def _count_sent(self, count: int) -> None:
        self._out_size -= count
        self._progress += count

    def _take(self, most: int) -> int:
        """How many bytes the caller may forget: the last one only when all of them are sent."""
        if self._out_size:
            count = min(self._progress, self._held - 1, most)
        else:
            count = min(self._held, most)
        count = max(count, 0)
        self._held -= count
        self._progress -= count
        self._taken += count
        return count

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the peer has sent; empty at its end.

        Raises ``trio.BrokenResourceError`` when TCP or TLS breaks, and when TCP ends without the
        end of TLS.
        """
        most = _PIECE if max_bytes is None else min(max_bytes, _PIECE)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._early:
            await trio.lowlevel.cancel_shielded_checkpoint()
            early = bytes(self._early[:most])
            del self._early[:most]
            return early
        while True:
            self._expect_whole()
            data = self._decrypt_all(most)
            self._answer()
            if data is not None:
                self._without_data = 0
                await trio.lowlevel.cancel_shielded_checkpoint()
                return data
            if self._has_record():
                # That was a record without data, which costs more time than one with data: others
                # have their turn.
                await trio.lowlevel.checkpoint()
                continue
            # All that has come is looked at; a part of a record may be left, whose data is to come.
            if self._without_data > _LONGEST_WITHOUT_DATA:
                raise self._fail(
                    f"the peer sent more than {_LONGEST_WITHOUT_DATA} bytes of TLS without data"
                )
            received = await self._stream.receive_some(most)
            if not received:
                raise self._fail(
                    "the peer closed TCP without the end of TLS (close_notify): it has crashed, or "
                    "somebody between has cut the connection"
                )
            self._without_data += len(received)
            self._received += received

    def _decrypt_all(self, most: int) -> bytes | None:
        """What has come, up to the first record without data; empty at the end.

        None when there is nothing before that, or before a record that is not whole.
        """
        pieces: list[bytes] = []
        size = 0
        while size < most and not self._at_end and (self._ssl.pending() or self._feed()):
            try:
                data = self._ssl.read(most - size)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                # An alert.
                self._answer()
                self._fail(_reason(error))
                break
            finally:
                self._read_more.unpark_all()
            self._at_end = not data
            pieces.append(data)
            size += len(data)
        if size:
            # What ends it is told by the next call.
            return b"".join(pieces)
        self._expect_whole()
        return b"" if self._at_end else None

    def _has_record(self) -> bool:
        """Whether there is something to give to ``ssl``."""
        return len(self._received) >= (1 if self._rest_of_record else _HEAD)

    def _feed(self) -> bool:
        """Give ``ssl`` the next record, or what has come of it. Returns whether there was any."""
        if not self._has_record():
            return False
        received = self._received
        length = self._rest_of_record or _HEAD + int.from_bytes(received[3:_HEAD])
        self._bio_in.write(received[:length])
        self._received = received[length:]
        self._rest_of_record = max(length - len(received), 0)
        return True

    def _answer(self) -> None:
        """Send what ``ssl`` answers by itself: an alert, a new key."""
        self._fetch_out()
        # Where that breaks, what the peer has sent still comes.
        with suppress(*BROKEN):
            self._send_now()
        if self._out_size > _MOST_OUT:
            raise self._fail("the peer wants answers of TLS and does not read them")

    # Ending

    def close(self) -> None:
        """Close without waiting, where the stream below can."""
        self._part()
        close: Callable[[], None] | None = getattr(self._stream, "close", None)
        if close is not None:
            close()

    async def aclose(self) -> None:
        self._part()
        await self._stream.aclose()

    def reset(self) -> None:
        """Close, and tell the peer by a reset, where the stream below can."""
        self._is_closed = True
        match self._stream:
            case Resettable():
                self._stream.reset()
            case _:
                # Who owns it closes it.
                pass

    def _part(self) -> None:
        """Tell the peer that this is the end, unless bytes of ours are missing before it."""
        if not self._is_closed and self._broken is None and not self._out_size:
            self._say_goodbye()
            with suppress(*BROKEN):
                self._send_now()
        self._is_closed = True

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):
            # It wants to read the end of the peer too: that is for the reader.
            self._ssl.unwrap()
        self._fetch_out()

    def _expect_whole(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError
        if self._broken is not None:
            raise self._fail(self._broken)

    def _expect_sendable(self) -> None:
        self._expect_whole()
        if self._unsendable is not None:
            raise trio.BrokenResourceError(self._unsendable)

    def _fail(self, why: str) -> trio.BrokenResourceError:
        """It cannot go on. Returns the error, with its words for people as its cause."""
        self._broken = why
        self._read_more.unpark_all()
        error = trio.BrokenResourceError(why)
        error.__cause__ = TlsError(why)
        return error


async def take_leave(stream: Stream) -> None:
    """After a handshake that failed: let the peer read why, until it closes. Never raises.

    What is closed with bytes unread may be reset, and what was sent before is lost.
    """
    send_eof: Callable[[], Awaitable[None]] | None = getattr(stream, "send_eof", None)
    with suppress(*BROKEN):
        if send_eof is not None:
            await send_eof()
        for _ in range(_LONGEST_HANDSHAKE // _RECEIVE):
            if not await stream.receive_some(_RECEIVE):
                return


# Why, in words

# By the number of OpenSSL's verdict on a certificate.
_VERDICTS = {
    9: "it is not valid yet: compare the clocks of both machines",
    10: "it has expired: the peer needs a new one, unless the clock of this machine is wrong",
    18: "it is signed by itself: put it, or its authority, into tls_authorities",
    19: "its authority is unknown here: put that into tls_authorities",
    20: "its authority is unknown here: put that into tls_authorities",
    21: "its authority is unknown here: put that into tls_authorities",
    23: "it was revoked",
    26: "it is not made for this use: a listening end needs serverAuth, a dialling one clientAuth",
    62: "it is for another name: dial a name that is in it, or set tls_name",
    64: "it is for another address: dial a name that is in it, or set tls_name",
}
_REFUSED = (
    "the peer refuses the certificate of this end: look at its authority, its dates and its names"
)
_VERSIONS = "the two ends have no version of TLS in common"
# By OpenSSL's name for what went wrong.
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "the peer has sent no certificate, and this end wants one of tls_authorities: give the "
        "peer one (tls_certificate)"
    ),
    "NO_SHARED_CIPHER": "the two ends have no cipher in common",
    "UNSUPPORTED_PROTOCOL": _VERSIONS,
    "WRONG_SSL_VERSION": _VERSIONS,
    "ALERT_PROTOCOL_VERSION": _VERSIONS,
    "ALERT_UNKNOWN_CA": _REFUSED,
    "ALERT_BAD_CERTIFICATE": _REFUSED,
    "ALERT_CERTIFICATE_UNKNOWN": _REFUSED,
    "ALERT_CERTIFICATE_EXPIRED": _REFUSED,
    "ALERT_CERTIFICATE_REVOKED": _REFUSED,
    "ALERT_UNSUPPORTED_CERTIFICATE": _REFUSED,
    "ALERT_CERTIFICATE_REQUIRED": (
        "the peer wants a certificate of this end: set tls_certificate and tls_key"
    ),
    "ALERT_HANDSHAKE_FAILURE": (
        "the peer refuses the handshake: it may want a certificate of this end (tls_certificate), "
        "or another cipher"
    ),
}


def _reason(error: ssl.SSLError) -> str:
    """Why TLS cannot go on, for people who look after it."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=int(code), verify_message=str(words)):
            verdict = _VERDICTS.get(code, "OpenSSL does not take it")
            return f"the certificate of the peer is not trusted: {verdict} ({words})"
        case _:
            # TLSV1_ALERT_UNKNOWN_CA, SSLV3_ALERT_BAD_CERTIFICATE, TLSV13_ALERT_…
            reason = error.reason or str(error)
            known = _REASONS.get(reason[max(reason.find("ALERT_"), 0) :])
            return f"{known} ({_words(reason)})" if known else f"OpenSSL says: {_words(reason)}"


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")

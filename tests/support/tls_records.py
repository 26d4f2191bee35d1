"""Records of TLS 1.3 made by hand, which no end of ``ssl`` would send, at the end of a handshake.

The suite is TLS_AES_256_GCM_SHA384, the first choice of OpenSSL.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from hsms_engine.virtual import Socket

HANDSHAKE, DATA = 22, 23
NEW_KEY = b"\x18\x00\x00\x01\x00"
NEW_KEY_OF_BOTH = b"\x18\x00\x00\x01\x01"


def ticket(size: int) -> bytes:
    """A NewSessionTicket with a ticket of ``size`` bytes."""
    body = bytes(8) + b"\x01\x07" + size.to_bytes(2, "big") + bytes(size) + b"\x00\x00"
    return b"\x04" + len(body).to_bytes(3, "big") + body


class Raw:
    """An end of TLS: its handshake is that of ``ssl``, its records are made by hand."""

    def __init__(self, below: Socket, context: ssl.SSLContext, *, listens: bool) -> None:
        self.below = below
        self.bio_in, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.bio_in, self.out, listens, None if listens else "tool")
        # Only for records made by hand.
        self._log = Path(context.keylog_filename or "")
        self._label = f"{'SERVER' if listens else 'CLIENT'}_TRAFFIC_SECRET_0"
        self._secret = b""
        self._number = 0

    async def shake_hands(self) -> None:
        while True:
            try:
                self.ssl.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self.bio_in.write(await self.below.receive_some())
            else:
                self.flush()
                return

    def flush(self) -> None:
        data = self.out.read()
        assert self.below.send_nowait(data) == len(data)

    def record(self, kind: int, content: bytes) -> bytes:
        """The next record, encrypted; after a new key with that one."""
        if not self._secret:
            (line,) = (
                each for each in self._log.read_text("ascii").splitlines() if self._label in each
            )
            self._secret = bytes.fromhex(line.split()[2])
        number = self._number.to_bytes(12, "big")
        nonce = bytes(a ^ b for a, b in zip(self._expand("iv", 12), number, strict=True))
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        key = AESGCM(self._expand("key", 32))
        self._number += 1
        if kind == HANDSHAKE and content[0] == NEW_KEY[0]:
            self._secret, self._number = self._expand("traffic upd", 48), 0
        return head + key.encrypt(nonce, content + bytes([kind]), head)

    def _expand(self, label: str, length: int) -> bytes:
        name = f"tls13 {label}".encode()
        info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
        return HKDFExpand(SHA384(), length, info).derive(self._secret)

"""Who may look: who had the token, from a page of this server.

The token is in no URL that is sent, is used once, and becomes a cookie that no script reads. Other
users of the machine, and other pages in the same browser, see nothing.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from secrets import token_urlsafe
from typing import Final
from urllib.parse import urlsplit

from hsms_engine.monitor.errors import RefusedError
from hsms_engine.monitor.http import Request

# Browsers that have entered; the one that did so first has to enter again.
_MOST_BROWSERS: Final = 64
# Wrong tokens that are answered at a time, each after so many seconds.
_MOST_WRONG: Final = 8
_WRONG_PAUSE: Final = 1.0


class Guard:
    """Checks each request. ``sleep`` waits so many seconds, ``entered`` is called with the next
    token when one was used."""

    def __init__(
        self,
        port: int,
        *,
        is_secure: bool,
        sleep: Callable[[float], Awaitable[object]],
        entered: Callable[[str], None],
    ) -> None:
        self.token = token_urlsafe(24)
        """What the next browser enters with, once."""
        self.refused = 0
        """Wrong tokens, and requests of other pages."""
        self._port = port
        self._is_secure = is_secure
        self._sleep = sleep
        self._entered = entered
        self._browsers: OrderedDict[str, None] = OrderedDict()
        self._wrong = 0
        # Cookies are not told apart by the port.
        self._cookie = f"hsms_monitor_{port}"

    def check_origin(self, request: Request) -> None:
        """Raise ``RefusedError`` when the request is meant for another server, or comes from a page
        of another one."""
        host = request.headers.get("host", "")
        if not request.is_clear or not self._is_ours(host):
            self.refused += 1
            raise RefusedError(421, f"{host!r} is no name of this server")
        origin = request.headers.get("origin")
        scheme = "https" if self._is_secure else "http"
        site = request.headers.get("sec-fetch-site", "none")
        is_own = origin is None or origin.lower() == f"{scheme}://{host.lower()}"
        if not is_own or site not in ("none", "same-origin"):
            self.refused += 1
            raise RefusedError(403, "a page of another server may not ask")

    def check_browser(self, request: Request) -> None:
        """Raise ``RefusedError`` when the browser has not entered."""
        for cookie in request.headers.get("cookie", "").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == self._cookie and value in self._browsers:
                return
        raise RefusedError(401, "enter with the token that was printed at the start")

    async def enter(self, request: Request) -> str:
        """The cookie for whoever has sent the token. Raises ``RefusedError``."""
        if not hmac.compare_digest(request.body.strip(), self.token.encode()):
            self.refused += 1
            if self._wrong >= _MOST_WRONG:
                raise RefusedError(429, "too many wrong tokens at a time: wait some seconds")
            self._wrong += 1
            try:
                await self._sleep(_WRONG_PAUSE)
            finally:
                self._wrong -= 1
            raise RefusedError(403, "this is not the token, or it was used: each is good for once")
        self.token = token_urlsafe(24)
        browser = token_urlsafe(24)
        self._browsers[browser] = None
        if len(self._browsers) > _MOST_BROWSERS:
            self._browsers.popitem(last=False)
        self._entered(self.token)
        secure = "; Secure" if self._is_secure else ""
        return f"{self._cookie}={browser}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def _is_ours(self, host: str) -> bool:
        """Whether the browser has meant this server, by its address or as this machine.

        Any other name may be one that leads here for a moment. With TLS it would need the
        certificate.
        """
        try:
            parts = urlsplit(f"//{host}")
            is_host = parts.netloc == host and parts.username is None
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        standard = 443 if self._is_secure else 80
        if not is_host or (standard if port is None else port) != self._port:
            return False
        if self._is_secure or name == "localhost":
            return bool(name)
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

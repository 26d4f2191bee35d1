"""A fault proxy for programs that do not run trio, or another trio: it runs in its own thread.

``with proxy_in_thread(open_proxy(host, port)) as proxy`` is the same proxy with calls that wait,
for plain, asyncio and trio tests alike. Only ``until`` waits for a peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial

from hsms_engine.doors.thread import TrioThread
from hsms_engine.in_thread import PATIENCE, Threaded, served
from hsms_engine.proxy.events import ProxyEvent
from hsms_engine.proxy.faults import Fault, Refuse
from hsms_engine.proxy.proxy import Proxy, serve_proxy


class ThreadedProxy(Threaded):
    """A proxy in a thread of its own. Every call may come from any thread.

    ``counts`` has how often each thing has happened until now, as ``Proxy.counts`` says.
    """

    def __init__(self, thread: TrioThread, proxy: Proxy) -> None:
        super().__init__(thread, proxy, "proxy")
        self._proxy = proxy

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._proxy.host

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self._proxy.port

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that are set, in force or not."""
        return self._look(lambda: self._proxy.faults)

    @property
    def connections(self) -> list[int]:
        """The numbers of the open connections."""
        return self._look(lambda: self._proxy.connections)

    def events(self) -> list[ProxyEvent]:
        """What has happened until now, at most the last 10,000 events."""
        return self._look(self._proxy.happened)

    def set(self, *faults: Fault | str) -> None:
        """Replace all faults by these, as ``Proxy.set`` does; without ``refuse``, it listens then.

        Raises ``FaultError``; then nothing has changed.
        """
        proxy = self._proxy

        async def change() -> None:
            failures = proxy.counts["not listening"]
            proxy.set(*faults)
            refuses = any(isinstance(each, Refuse) for each in proxy.faults)
            await proxy.until(
                lambda: refuses or proxy.is_listening or proxy.counts["not listening"] > failures
            )

        self._call(change)

    def reset_all(self) -> None:
        """Reset both ends of every open connection, as ``Proxy.reset_all`` does."""
        self._look(self._proxy.reset_all)


@contextmanager
def proxy_in_thread(
    opening: AbstractAsyncContextManager[Proxy], *, patience: float = PATIENCE
) -> Iterator[ThreadedProxy]:
    """Run what ``open_proxy`` returns as long as the block lasts. Raises what that raises."""
    with served("fault proxy", partial(serve_proxy, opening), patience) as (thread, proxy):
        yield ThreadedProxy(thread, proxy)

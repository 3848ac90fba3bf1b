"""One HTTP client, used from the loops of many threads.

A model is shared by all runs of its agent and keeps one httpx client, whose connections belong to the loop that made
them: used from another loop they break or hang. With `install`, a client's first loop uses the client's own connections
and each other loop gets a pool of its own, made with the same arguments. Holds for every client in the process that is
built on httpx 0.28 or httpx2 2.16 (the SDKs of OpenAI and Anthropic) and is made after `install`.
"""

import asyncio
import importlib
import threading
from typing import Any
from weakref import WeakKeyDictionary, ref

_Loop = asyncio.AbstractEventLoop
_lock = threading.Lock()
_homes: WeakKeyDictionary[Any, ref[_Loop]] = WeakKeyDictionary()  # by transport: the loop of its own connections
_pools: WeakKeyDictionary[_Loop, WeakKeyDictionary[Any, Any]] = WeakKeyDictionary()  # by loop and transport
_made_of: WeakKeyDictionary[Any, tuple[tuple[Any, ...], dict[str, Any]]] = WeakKeyDictionary()
_installed: set[type] = set()


def install() -> None:
    """Idempotent; call it before agents are loaded."""
    for name in ("httpx", "httpx2"):
        try:
            transport = importlib.import_module(name).AsyncHTTPTransport
        except ImportError:
            continue
        if transport not in _installed:
            _installed.add(transport)
            _wrap(transport)


async def close_of_this_loop() -> None:
    """Closes the connections that the running loop made, before it ends."""
    loop = asyncio.get_running_loop()
    with _lock:
        mine = list(_pools.pop(loop, {}).values())
        mine += [transport for transport, home in _homes.items() if home() is loop]
    for transport in mine:
        await transport.aclose()


def _wrap(transport: Any) -> None:
    """`transport`: the class. Only its public methods are replaced."""
    init, handle = transport.__init__, transport.handle_async_request
    aclose, leave = transport.aclose, transport.__aexit__

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        _made_of[self] = (args, kwargs)

    def of_this_loop(self: Any) -> Any:
        loop = asyncio.get_running_loop()
        with _lock:
            home = _homes.setdefault(self, ref(loop))()
            if home is loop or self not in _made_of:
                return self
            pools = _pools.setdefault(loop, WeakKeyDictionary())
            if self not in pools:
                args, kwargs = _made_of[self]
                pools[self] = transport.__new__(transport)
                init(pools[self], *args, **kwargs)
            return pools[self]

    async def close_here(self: Any) -> None:
        with _lock:
            pool = _pools.get(asyncio.get_running_loop(), {}).pop(self, None)
        if pool is not None:
            await aclose(pool)

    async def handle_async_request(self: Any, request: Any) -> Any:
        return await handle(of_this_loop(self), request)

    async def close(self: Any) -> None:
        await close_here(self)
        await aclose(self)

    async def exit_(self: Any, *error: Any) -> None:
        await close_here(self)
        await leave(self, *error)

    transport.__init__, transport.handle_async_request = remember, handle_async_request
    transport.aclose, transport.__aexit__ = close, exit_

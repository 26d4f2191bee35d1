"""A web service around one link: its state, its events as a stream, and messages to the tool.

    uvicorn --factory fastapi_service:service --timeout-graceful-shutdown 3

HSMS_LINKS in the environment names the TOML file of links, and HSMS_LINK one of them.
"""

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, fields
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    LinkDownError,
    LocalProtocolError,
    Message,
    ReplyTimeoutError,
    Settings,
    TransactionError,
    aio,
)
from hsms_engine.messages import S1F2, S1F14, S5F2, S6F12
from hsms_engine.secs2 import DecodeError
from hsms_engine.sml import SmlError

T = TypeVar("T")

REPLIES = {"S1F1": S1F2(), "S1F13": S1F14(), "S5F1": S5F2(), "S6F11": S6F12()}
STATUS = {
    UnicodeDecodeError: HTTPStatus.BAD_REQUEST,
    SmlError: HTTPStatus.BAD_REQUEST,
    LocalProtocolError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TransactionError: HTTPStatus.BAD_GATEWAY,
    ConnectionLostError: HTTPStatus.BAD_GATEWAY,
    DecodeError: HTTPStatus.BAD_GATEWAY,
    LinkDownError: HTTPStatus.SERVICE_UNAVAILABLE,
    ClosedError: HTTPStatus.SERVICE_UNAVAILABLE,
    ReplyTimeoutError: HTTPStatus.GATEWAY_TIMEOUT,
}


def the_link(request: Request) -> aio.HsmsLink:
    link: aio.HsmsLink = request.state.link
    return link


Link = Annotated[aio.HsmsLink, Depends(the_link)]


def create_app(settings: Settings) -> FastAPI:
    """The service for one tool. It starts and stops with or without the tool."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, aio.HsmsLink]]:
        async with asyncio.TaskGroup() as tasks, aio.open_link(settings) as link:
            # Ends when the link is closed.
            tasks.create_task(acknowledge(link))
            yield {"link": link}

    app = FastAPI(title="HSMS link", lifespan=lifespan)
    for kind in STATUS:
        app.add_exception_handler(kind, tell)
    app.get("/link")(show)
    app.get("/link/events")(stream)
    app.post("/messages", response_class=PlainTextResponse)(ask)
    return app


def service() -> FastAPI:
    """The app for uvicorn: the link HSMS_LINK, or the only one, of the file HSMS_LINKS."""
    return create_app(Settings.from_toml(os.environ["HSMS_LINKS"], os.environ.get("HSMS_LINK")))


async def show(link: Link) -> dict[str, object]:
    """Who the peer is, the state of the link, and all counts."""
    statistics = {name: plain(value) for name, value in asdict(link.statistics()).items()}
    return {"peer": link.peer, "is_selected": link.is_selected, "statistics": statistics}


async def ask(request: Request, link: Link) -> Response:
    """Send the SML in the body to the tool. The reply is SML; 204 when the message wants none."""
    message = Message.parse((await request.body()).decode())
    if not message.wait:
        await link.send(message)
        return Response(status_code=HTTPStatus.NO_CONTENT)
    reply = await unless_gone(request, link.request(message))
    return PlainTextResponse(reply.sml())


async def stream(link: Link) -> StreamingResponse:
    """The events of the link, from the present state on, as server-sent events."""

    async def lines() -> AsyncIterator[str]:
        # Cancelled by Starlette when the client goes away.
        async for event in link.events():
            data = {field.name: plain(getattr(event, field.name)) for field in fields(event)}
            yield f"event: {type(event).__name__}\ndata: {json.dumps(data)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def unless_gone(request: Request, call: Coroutine[object, object, T]) -> T:
    """What ``call`` returns. It is cancelled when the client goes away before that."""
    # All of the body has been read: what comes now is that the client is gone.
    working, gone = asyncio.ensure_future(call), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the client is gone")
    finally:
        working.cancel()
        gone.cancel()


async def acknowledge(link: aio.HsmsLink) -> None:
    """Answer what the tool asks and reports; abort all else."""
    async for primary in link:
        if primary.wait:
            # The connection over which it came may be over.
            with suppress(ConnectionLostError):
                reply = REPLIES.get(primary.name, Message(primary.stream, 0))
                await link.reply(primary, reply)


async def tell(_: Request, error: Exception) -> JSONResponse:
    """The status for an error, and its sentence."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {}
    if isinstance(error, LinkDownError) and math.isfinite(error.retry_after):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return JSONResponse({"error": type(error).__name__, "detail": str(error)}, status, headers)


def plain(value: object) -> object:
    """What JSON has a word for."""
    match value:
        case float() if math.isinf(value):
            return None
        case Exception() | Message():
            return str(value)
        case _:
            return value

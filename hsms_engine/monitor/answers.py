"""What the page asks, and what it is answered: JSON objects by their path (docs/monitor.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import translate
from time import time
from typing import Final, Literal, overload

from hsms_engine.monitor import looking, shown
from hsms_engine.monitor.errors import RefusedError
from hsms_engine.monitor.history import Entry, FileHistory, History, Number
from hsms_engine.monitor.shown import Object
from hsms_engine.protocol.traffic import frame_name
from hsms_engine.recording import (
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    Json,
    LinkRecord,
    SettingsRecord,
    text_encoding_of,
)
from hsms_engine.wire import frame_of

Query = Mapping[str, str]

_MOST: Final = 500
# To look at a body, and to make a row with its bound, cost as much as to read so many records; to
# show a body as many as a turn has.
_WEIGHT: Final = 4
_ROW: Final = 16
_SHOWN: Final = looking.TURN
# Characters of a filter: what is longer takes long to compile.
_LONGEST_FILTER: Final = 200
_EVENTS: Final = (EventRecord, ErrorRecord, SettingsRecord, GoneRecord, LinkRecord)


@dataclass(frozen=True, slots=True)
class Source:
    """Where links come from: a program, or the files of a recording."""

    name: str
    kind: Literal["live", "file"]
    history: History

    @property
    def share(self) -> float:
        """How much of it is read, from 0 to 1."""
        return self.history.share if isinstance(self.history, FileHistory) else 1.0


class Answers:
    """Answers what is asked about the links of all sources."""

    def __init__(self, sources: Sequence[Source], clock: Callable[[], float] = time) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._bounds = shown.Bounds()

    async def get(self, path: str, query: Query) -> Object:
        """The answer. Raises ``RefusedError``, and ``OSError`` when a file cannot be read."""
        match path.split("/")[1:]:
            case ["api", "links"]:
                return await self.overview()
            case ["api", "link", key]:
                return await self.detail(key, _number(query, "at"))
            case ["api", "link", key, "messages"]:
                return await self._messages(key, query)
            case ["api", "link", key, "events"]:
                return await self._events(key, query)
            case ["api", "link", key, "timeline"]:
                return await self._timeline(key, query)
            case ["api", "link", key, "stretch"]:
                return await self._stretch(key, query)
            case _:
                raise RefusedError(404, f"there is no {path}")

    # All links

    async def overview(self) -> Object:
        """All links, and where they come from."""
        rows, _ = await self.news({})
        return {**self.about(), "links": rows}

    def changes(self, key: str | None = None) -> Changes:
        """What changes from now on, with the details of the link ``key``; first all there is."""
        return Changes(self, key)

    async def news(self, seen: dict[str, int]) -> tuple[list[Object], list[str]]:
        """The rows of links that have other records than ``seen`` knows, and the keys of those that
        are kept no more. ``seen`` is brought up to date."""
        turn = looking.Turn()
        rows: list[Object] = []
        kept = set()
        for number, source in enumerate(self._sources):
            for link, now in tuple(source.history.links.items()):
                key = _key(number, link)
                kept.add(key)
                if seen.get(key) != now.records:
                    seen[key] = now.records
                    rows.append(shown.row(key, number, now, self._bounds.of(key, now)))
                    await turn.next(weight=_ROW)
        gone = sorted(seen.keys() - kept)
        for key in gone:
            del seen[key]
        self._bounds.keep(kept)
        return rows, gone

    def about(self) -> Object:
        """Where the links come from, and what is not told of them. Beside files, a program is no
        source before it tells something."""
        histories = [source.history for source in self._sources]
        return {
            "now": self._clock(),
            "sources": [
                {
                    "source": number,
                    "name": source.name,
                    "kind": source.kind,
                    "read": source.share,
                    "notes": list(source.history.notes),
                }
                for number, source in enumerate(self._sources)
                if source.kind == "file" or source.history.blocks or len(self._sources) == 1
            ],
            "counts": {
                "lost": sum(each.lost for each in histories),
                "unread": sum(each.unread for each in histories),
                "forgotten": sum(each.forgotten for each in histories),
                "late": sum(each.late for each in histories),
            },
        }

    # One link

    async def detail(self, key: str, at: float | None = None) -> Object:
        """All that is known about a link, now or at a time (UTC)."""
        source, link = self._found(key)
        history = self._sources[source].history
        is_live = at is None and self._sources[source].kind == "live"
        # Before others have their turn: the link may be kept no more then.
        (first, last), others = history.span(link), history.others[link]
        now = history.links[link] if at is None else await looking.link_at(history, link, at)
        wall = self._clock() if is_live else now.wall if at is None else at
        return {
            "row": shown.row(key, source, now, self._bounds.of(key, now)),
            **shown.detail(now, wall, others),
            "is_live": is_live,
            "first": first,
            "last": last,
        }

    async def _messages(self, key: str, query: Query) -> Object:
        source, link = self._found(key)
        history = self._sources[source].history
        has_text = bool(query.get("text"))
        encoding = text_encoding_of(history.links[link].settings)
        found = await looking.search(
            history,
            link,
            _wanted_messages(query, encoding),
            until=_number(query, "until", math.inf),
            before=_whole(query, "before"),
            count=_count(query),
            weight=_WEIGHT if has_text else 1,
        )
        turn = looking.Turn()
        messages = []
        for entry in found.entries:
            await turn.next(weight=_SHOWN)
            tied = found.replies.get(entry.ordinal)
            messages.append(shown.entry_object(entry, tied, text_encoding=encoding))
        return {"messages": messages, **_more(found)}

    async def _events(self, key: str, query: Query) -> Object:
        source, link = self._found(key)
        found = await looking.search(
            self._sources[source].history,
            link,
            lambda entry: isinstance(entry.record, _EVENTS),
            until=_number(query, "until", math.inf),
            before=_whole(query, "before"),
            count=_count(query),
        )
        return {"events": list(map(shown.entry_object, found.entries)), **_more(found)}

    async def _timeline(self, key: str, query: Query) -> Object:
        history, link, begin, end = self._stretch_of(key, query)
        made, is_exact = await looking.timeline(history, link, begin, end)
        return {
            "from": begin,
            "to": end,
            "bands": shown.bands(made.connection_bands(end), begin, end),
            "breaker": shown.bands(made.breaker_bands(end), begin, end),
            "lease": shown.bands(made.lease_bands(end), begin, end),
            "ticks": shown.ticks(made.ticks(), begin, end),
            "is_exact": is_exact,
        }

    async def _stretch(self, key: str, query: Query) -> Object:
        history, link, begin, end = self._stretch_of(key, query)
        now = history.links[link]
        encoding = text_encoding_of(now.settings)
        entries, is_cut = await looking.stretch(history, link, begin, end, _count(query))
        turn = looking.Turn()
        told = []
        for entry in entries:
            await turn.next(weight=_SHOWN)
            told.append(shown.entry_object(entry, text_encoding=encoding))
        return {"entries": told, "is_cut": is_cut, "local": now.name, "remote": now.peer}

    def _stretch_of(self, key: str, query: Query) -> tuple[History, Number, float, float]:
        source, link = self._found(key)
        history = self._sources[source].history
        first, last = history.span(link)
        begin, end = _number(query, "from", first), _number(query, "to", last)
        if begin > end:
            raise RefusedError(400, f"from={begin} is later than to={end}")
        return history, link, begin, end

    def _found(self, key: str) -> tuple[int, Number]:
        source, dash, link = key.partition("-")
        if dash and _is_number(source) and _is_number(link):
            histories = dict(enumerate(each.history for each in self._sources))
            if int(source) in histories and int(link) in histories[int(source)].links:
                return int(source), int(link)
        raise RefusedError(404, f"there is no link {key}, or it is kept no more")


class Changes:
    """What changes, for one browser. It keeps which records that has seen, and no message."""

    def __init__(self, answers: Answers, key: str | None) -> None:
        self._answers = answers
        self._key = key
        self._seen: dict[str, int] = {}
        self._about: Object = {}
        self._records: Json = None

    async def next(self) -> list[tuple[str, Object]]:
        """The events since the last call: their names, and what they tell."""
        told: list[tuple[str, Object]] = []
        rows, gone = await self._answers.news(self._seen)
        about = self._answers.about()
        now = about.pop("now")
        if rows or gone or about != self._about:
            told.append(("links", {"now": now, **about, "links": rows, "gone": gone}))
        self._about = about
        if self._key in self._seen and self._seen[self._key] != self._records:
            self._records = self._seen[self._key]
            # It may be kept no more by now, which the next call tells.
            with suppress(RefusedError):
                told.append(("link", await self._answers.detail(self._key)))
        return told


def _key(source: int, link: Number) -> str:
    return f"{source}-{link}"


def _more(found: looking.Found) -> Object:
    older = None if found.older is None else str(found.older)
    return {"older": older, "searched": shown.finite(found.searched)}


# What is asked


def _wanted_messages(query: Query, text_encoding: str | None) -> Callable[[Entry], bool]:
    direction, text = query.get("direction", ""), query.get("text", "").casefold()
    if direction not in ("", "sent", "received"):
        raise RefusedError(400, f"direction={direction!r} is not sent or received")
    asked = query.get("filter", "")
    if len(asked) > _LONGEST_FILTER:
        raise RefusedError(400, f"filter is longer than {_LONGEST_FILTER} characters")
    patterns = asked.upper().split()
    matches = re.compile("|".join(map(translate, patterns))).match

    def wanted(entry: Entry) -> bool:
        record = entry.record
        if type(record) is not FrameRecord:
            return False
        if direction and record.sent != (direction == "sent"):
            return False
        if patterns:
            name = frame_name(frame_of(record.data)).upper()
            # With its status, and without.
            if not (matches(name) or matches(name.partition(" ")[0])):
                return False
        return not text or text in shown.text_of(record, text_encoding).casefold()

    return wanted


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _whole(query: Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _is_number(text):
        raise RefusedError(400, f"{name}={text!r} is no whole number")
    return int(text)


def _count(query: Query) -> int:
    count = _whole(query, "count")
    return min(max(100 if count is None else count, 1), _MOST)


@overload
def _number(query: Query, name: str) -> float | None: ...


@overload
def _number(query: Query, name: str, otherwise: float) -> float: ...


def _number(query: Query, name: str, otherwise: float | None = None) -> float | None:
    text = query.get(name)
    if text is None:
        return otherwise
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise RefusedError(400, f"{name}={text!r} is no number of seconds")
    return found

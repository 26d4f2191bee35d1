"""The streams of a fleet in Redis or Valkey, and who is there. Needs the extra ``fleet``.

Streams have the names that the fleet gives them. They are read by a script, which looks at the size
of an entry before it sends it, so what somebody else has written is not much more than what a fleet
writes. Nobody blocks in the server: it is asked again after some milliseconds.

Who is there is the hash ``{prefix}:members``: by name ``until|life|limit|digest``, ``until`` in
milliseconds of the server's clock.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import trio
from coredis.parser import Parser

from hsms_engine.errors import LeaseError, LeaseSetupError
from hsms_engine.fleet.forms import LONGEST_BODY, LONGEST_TEXT
from hsms_engine.fleet.streams import Attendance, Entry, Member, NewEntry
from hsms_engine.fleet.tools import is_tool_name
from hsms_engine.lease.failures import failure_of, shown
from hsms_engine.lease.line import Line, Reply, Word
from hsms_engine.lease.redis import RedisStore
from hsms_engine.lease.scripts import Script

__all__ = ["RedisStreams", "redis_streams"]

# The largest entry that is read, in bytes, and what is read at once unless one entry is larger.
LONGEST_ENTRY: Final = LONGEST_BODY + 8 * LONGEST_TEXT
_BUDGET: Final = 4 * 1024 * 1024
_LONGEST_REPLY: Final = LONGEST_ENTRY + 2 * _BUDGET
# The times between two questions, in seconds, while nothing is there.
_SHORTEST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.1
_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_DIGITS: Final = 19
_USED_UP: Final = b"exhausted the last possible ID"
_MEMBER: Final = re.compile(
    r"[0-9]+[|](?P<life>[0-9A-Za-z]{1,64})[|](?P<limit>[0-9]{0,9})[|](?P<digest>[0-9a-f]{0,64})"
)
_MOST_MEMBERS: Final = 1_000

# KEYS: streams. ARGV, for each entry: the number of its stream, the longest length, how long the
# stream lasts (ms) or nothing, the number of words, and these: fields and values.
_APPEND: Final = Script("""
local results, at = {}, 1
while at <= #ARGV do
  local key, words = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 3])
  local result = redis.pcall(
    'XADD', key, 'MAXLEN', '~', ARGV[at + 1], '*', unpack(ARGV, at + 4, at + 3 + words))
  if result.err then
    results[#results + 1] = {result.err}
  else
    if ARGV[at + 2] ~= '' then redis.call('PEXPIRE', key, ARGV[at + 2]) end
    results[#results + 1] = result
  end
  at = at + 4 + words
end
return results
""")

# KEYS: streams. ARGV: most entries of each, bytes of all, bytes of one, and an id for each stream.
_READ: Final = Script("""
local there = 0
for at = 1, #KEYS, 1000 do
  there = there + redis.call('EXISTS', unpack(KEYS, at, math.min(at + 999, #KEYS)))
end
-- Of many tools hardly any is asked something, and this is much cheaper.
if there == 0 then return {} end
local most, budget, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local found = {}
for number, key in ipairs(KEYS) do
  local entries = redis.pcall('XRANGE', key, '(' .. ARGV[number + 3], '+', 'COUNT', most)
  if entries.err then
    found[#found + 1] = {number, entries.err}
  else
    local taken = {}
    for _, entry in ipairs(entries) do
      local size = 0
      for _, word in ipairs(entry[2]) do size = size + #word end
      if size > longest then
        taken[#taken + 1] = {entry[1], {}}
      elseif budget <= 0 then
        break
      else
        budget = budget - size
        taken[#taken + 1] = entry
      end
    end
    if #taken > 0 then found[#found + 1] = {number, taken} end
  end
end
return found
""")

# KEYS: a stream. ARGV: bytes of one entry.
_LATEST: Final = Script("""
local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
for _, entry in ipairs(entries) do
  local size = 0
  for _, word in ipairs(entry[2]) do size = size + #word end
  if size > tonumber(ARGV[1]) then entry[2] = {} end
end
return entries
""")

# KEYS: the hash. ARGV: name, life, limit, digest, how long it lasts (ms), the most members.
_ATTEND: Final = Script("""
local key, name, life, lasts = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known, there, taken, count = redis.call('HGETALL', key), {}, 0, 0
for at = 1, #known, 2 do
  local till, other = string.match(known[at + 1], '^(%d+)|(%w+)|')
  local left = (tonumber(till) or 0) - now
  if left <= 0 or left > lasts then
    redis.call('HDEL', key, known[at])
  elseif known[at] == name and other ~= life then
    taken, count = 1, count + 1
    there[#there + 1] = known[at]
    there[#there + 1] = known[at + 1]
  elseif known[at] ~= name and count < tonumber(ARGV[6]) then
    count = count + 1
    there[#there + 1] = known[at]
    there[#there + 1] = known[at + 1]
  end
end
if taken == 0 then
  local till = string.format('%.0f', now + lasts)
  local mine = table.concat({till, life, ARGV[3], ARGV[4]}, '|')
  redis.call('HSET', key, name, mine)
  there[#there + 1] = name
  there[#there + 1] = mine
end
return {now, taken, there}
""")

# KEYS: the hash. ARGV: name, life.
_LEAVE: Final = Script("""
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and string.match(known, '^%d+|(%w+)|') == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 'left'
""")


@asynccontextmanager
async def redis_streams(store: object, *, has_leases: bool) -> AsyncIterator[RedisStreams]:
    """The streams of a store, with two connections of their own.

    ``has_leases``: its leases are used too, and have two more together.
    """
    assert isinstance(store, RedisStore)
    patience = store.patience
    async with (
        store if has_leases else nullcontext(),
        store.line(patience=patience) as writing,
        store.line(patience=patience, longest_reply=_LONGEST_REPLY) as reading,
    ):
        yield RedisStreams(store, writing, reading)


class RedisStreams:
    """``Streams`` of a store. Made by ``redis_streams``."""

    def __init__(self, store: RedisStore, writing: Line, reading: Line) -> None:
        self._address = store.address
        self._prefix = store.prefix
        self._members = store.key("members")
        self._writing = writing
        self._reading = reading

    @property
    def prefix(self) -> str:
        return self._prefix

    async def now(self) -> float:
        match await self._reading.call("TIME"):
            case [bytes() as seconds, bytes() as micros] if _are_numbers(seconds, micros):
                return int(seconds) + int(micros) / 1e6
            case answer:
                raise self._meaningless(answer)

    async def append(self, entries: Sequence[NewEntry]) -> Sequence[str | LeaseError]:
        streams: dict[str, int] = {}
        words: list[Word] = []
        for each in entries:
            lasts = "" if each.lasts is None else round(each.lasts * 1000)
            number = streams.setdefault(each.stream, len(streams) + 1)
            words += [number, each.longest, lasts, 2 * len(each.fields)]
            for field in each.fields.items():
                words += field
        match await self._writing.run(_APPEND, len(streams), *streams, *words):
            case list() as answers if len(answers) == len(entries):
                return [self._appended(each) for each in answers]
            case answer:
                raise self._meaningless(answer)

    def _appended(self, answer: Reply) -> str | LeaseError:
        match answer:
            case bytes() if (found := _entry_id(answer)) is not None:
                return found
            case [bytes() as error]:
                return self._refused(error)
            case _:
                return self._meaningless(answer)

    async def read(
        self, after: Mapping[str, str], most: int, patience: float
    ) -> Mapping[str, Sequence[Entry]]:
        ends_at, pause = trio.current_time() + patience, _SHORTEST_PAUSE
        while True:
            found = await self._read(after, most)
            if found or trio.current_time() >= ends_at:
                return found
            await trio.sleep(min(pause, ends_at - trio.current_time()))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _read(self, after: Mapping[str, str], most: int) -> dict[str, list[Entry]]:
        words: list[Word] = [most, _BUDGET, LONGEST_ENTRY, *after.values()]
        answer = await self._reading.run(_READ, len(after), *after, *words)
        if not isinstance(answer, list):
            raise self._meaningless(answer)
        names, found = [*after], dict[str, list[Entry]]()
        refused: LeaseError | None = None
        for each in answer:
            match each:
                case [int() as number, bytes() as error] if 0 < number <= len(names):
                    refused = self._refused(error)
                case [int() as number, list() as entries] if 0 < number <= len(names):
                    found[names[number - 1]] = [self._entry(entry) for entry in entries]
                case _:
                    raise self._meaningless(each)
        if refused is not None and not found:
            # While there are others, one of another type does not keep them back.
            raise refused
        return found

    async def latest(self, stream: str) -> Entry | None:
        match await self._reading.run(_LATEST, 1, stream, LONGEST_ENTRY):
            case []:
                return None
            case [entry]:
                return self._entry(entry)
            case answer:
                raise self._meaningless(answer)

    async def remove(self, stream: str, entry: str) -> None:
        await self._writing.call("XDEL", stream, entry)

    async def attend(self, member: Member, lasts: float) -> Attendance:
        limit = "" if member.limit is None else member.limit
        words = (member.name, member.life, limit, member.digest, round(lasts * 1000))
        answer = await self._writing.run(_ATTEND, 1, self._members, *words, _MOST_MEMBERS)
        match answer:
            case [int() as now, int() as taken, list() as there] if len(there) % 2 == 0:
                pairs = zip(there[::2], there[1::2], strict=True)
                members = tuple(each for pair in pairs if (each := _member(*pair)) is not None)
                return Attendance(now / 1000, members, taken == 1)
            case _:
                raise self._meaningless(answer)

    async def leave(self, member: Member) -> None:
        await self._writing.run(_LEAVE, 1, self._members, member.name, member.life)

    def _entry(self, answer: Reply) -> Entry:
        match answer:
            case [bytes() as given, list() as words] if (found := _entry_id(given)) is not None:
                fields = zip(words[::2], words[1::2], strict=False)
                return Entry(
                    found,
                    {
                        key: value
                        for key, value in fields
                        if isinstance(key, bytes) and isinstance(value, bytes)
                    },
                )
            case _:
                raise self._meaningless(answer)

    def _refused(self, error: bytes) -> LeaseError:
        """What the server says of one stream."""
        if _USED_UP in error:
            # Somebody has written the last id that there is: it does not pass by itself.
            return LeaseSetupError(
                f"the store {self._address} takes nothing more in a stream whose ids are used up: "
                "delete it"
            )
        return failure_of(self._address, Parser().parse_error(error.decode(errors="replace")))

    def _meaningless(self, answer: Reply) -> LeaseError:
        what = shown(answer)
        return LeaseError(f"the store {self._address} answers what it cannot mean: {what}")


def _are_numbers(*values: bytes) -> bool:
    return all(each.isdigit() and len(each) < _DIGITS for each in values)


def _entry_id(answer: bytes) -> str | None:
    text = answer.decode(errors="replace")
    return text if _ID.fullmatch(text) else None


def _member(name: object, value: object) -> Member | None:
    """A process that is there; None for what no fleet has written."""
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        return None
    text, called = value.decode(errors="replace"), name.decode(errors="replace")
    known = _MEMBER.fullmatch(text)
    if known is None or not is_tool_name(called):
        return None
    limit = known["limit"]
    return Member(called, known["life"], int(limit) if limit else None, known["digest"])

"""What the store does, as scripts in Lua: each is done as a whole, or not at all.

Keys, all in one slot of a cluster because of the braces:

* ``{prefix}:leases``, a hash: ``layout`` and ``length`` (ms) of all leases here, ``incarnation``
  (whose data this is), ``quiet`` (until when nobody acquires), ``base`` (no epoch is lower), and
  for each tool ``epoch:NAME``, the latest epoch.
* ``{prefix}:lease:NAME``, a hash: ``owner`` (empty: nobody; the name, then a line that tells owners
  of one name apart), ``epoch``, ``until``, ``saved`` and ``saved_at``. It is never deleted, and has
  no expiry: ``until`` is compared with the time of the server, in each script, in milliseconds.
* the channel ``{prefix}:news:NAME``: the epoch, each time that the owner changes.

A store that does not know ``layout``, or names another incarnation, has been restarted, or is a
replica that took over, or somebody has emptied it: leases that it gave may be forgotten. For the
length of a lease nobody acquires; who renews with an epoch that is not lower than the known one is
known again. The epochs go on from the time in milliseconds, so they are greater than those which
were forgotten.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

LAYOUT = 1

# ARGV: layout, length, tool, channel, owner, then what the call has of its own.
_BEFORE = """
local marker, key = KEYS[1], KEYS[2]
local length, name, channel, me = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local info = redis.call('INFO', 'replication')
if string.match(info, 'role:(%w+)') ~= 'master' then return {'replica'} end
local incarnation = string.match(info, 'master_replid:(%w+)')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local known = redis.call(
  'HMGET', marker, 'layout', 'length', 'incarnation', 'quiet', 'base', 'epoch:' .. name)
if known[1] and known[1] ~= ARGV[1] then return {'layout', known[1]} end
if known[2] and known[2] ~= ARGV[2] then return {'length', known[2]} end
local quiet, base = tonumber(known[4]) or 0, tonumber(known[5]) or 0
if not (known[1] and known[2]) or known[3] ~= incarnation then
  quiet, base = now + length, math.max(base, now)
  redis.call('HSET', marker, 'layout', ARGV[1], 'length', ARGV[2], 'incarnation', incarnation,
    'quiet', text(quiet), 'base', text(base))
elseif quiet > now + length then
  -- The clock of the server was put back.
  quiet = now + length
  redis.call('HSET', marker, 'quiet', text(quiet))
end

local lease = redis.call('HMGET', key, 'owner', 'epoch', 'until', 'saved', 'saved_at')
local counted = tonumber(known[6]) or 0
local owner, epoch = lease[1] or '', math.max(tonumber(lease[2]) or 0, counted)
local ends = tonumber(lease[3]) or 0
if ends > now + length or (not lease[2] and counted > 0) then
  -- The clock was put back, or this lease alone was lost.
  ends = now + length
  redis.call('HSET', key, 'owner', owner, 'epoch', text(epoch), 'until', text(ends))
end

local function state()
  if ends > now and (owner ~= '' or ends >= quiet) then
    return {'held', string.match(owner, '[^\\n]*'), epoch, ends - now, now}
  end
  if quiet > now then return {'held', '', epoch, quiet - now, now} end
  return {'vacant', epoch, now}
end

local function keep(who, new, last)
  redis.call('HSET', key, 'owner', who, 'epoch', text(new), 'until', text(last))
  if new ~= counted then redis.call('HSET', marker, 'epoch:' .. name, text(new)) end
  if new ~= epoch or who ~= owner then redis.call('PUBLISH', channel, text(new)) end
end

-- Whether this epoch is in force, or is known again.
local function has(mine)
  return (mine == epoch and owner == me) or (mine > epoch and quiet > now)
end
"""

_ACQUIRE = """
if quiet > now or (ends > now and owner ~= me) then return state() end
local new = math.max(epoch, base) + 1
keep(me, new, now + length)
local age = math.max(now - (tonumber(lease[5]) or now), 0)
return {'granted', new, lease[4], age, now}
"""

# ARGV: epoch, saved.
_RENEW = """
local mine = tonumber(ARGV[6])
if not has(mine) then return state() end
keep(me, mine, now + length)
redis.call('HSET', key, 'saved', ARGV[7], 'saved_at', text(now))
return {'granted', mine, false, 0, now}
"""

# ARGV: epoch, and saved, if it changes.
_RELEASE = """
local mine = tonumber(ARGV[6])
if has(mine) then
  if ARGV[7] then redis.call('HSET', key, 'saved', ARGV[7], 'saved_at', text(now)) end
  keep('', mine, 0)
end
return {'released', now}
"""

_LOOK = "return state()"


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name under which a server that has seen it knows it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)


ACQUIRE, RENEW, RELEASE, LOOK = (
    Script(_BEFORE + each) for each in (_ACQUIRE, _RENEW, _RELEASE, _LOOK)
)

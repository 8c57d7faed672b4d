#!lua
-- Set facts of an article, or whether lists show it, and undo that. It stands behind record.lua and claims.lua.
--
-- Input
--   KEYS  1 to 4 what record.lua wants  5 names  6 counts  7 touched entries  8 who has set what
--   ARGV  5 facts   6 msgpack: id of the change, id of the change that it takes back or '', the record's head, the article's
--         id, its key, the facts: [place, value]: places from 1 as in core.entries.FACTS, TYPE and HIDDEN behind them
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua. An undo is also refused: later (`word` is the change that has set one of the facts since: it
-- has to be undone first)
--
-- No reader's claim replaces a fact that an editor has set (claims.lua). For each fact the store knows which change has set it,
-- and each record has the value before, its standing, and the change that had set it. After a loss an undo may be applied before
-- its change, which comes from another host: the undo is written down, and the change then has no effect.

local TYPE, HIDDEN = FACTS + 1, FACTS + 2
local NAMES, COUNTS, TOUCHED, SET_BY = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local id, undoes, head, article, key, facts = unpack(cmsgpack.unpack(ARGV[6]))

local known_entry, _, _, _, _, packed_entry, fact_of, standing_of, set_fact = weighing()

local seat, reason = seat_of(id, {article})
if not seat then
  return refuse(reason)
end
local unmade = redis.call('HEXISTS', CHANGES, id .. ':undone') == 1
local had = {}
if undoes ~= '' then
  if redis.call('HEXISTS', CHANGES, undoes .. ':undone') == 1 then
    return refuse('undone')
  end
  local made = redis.call('HGET', CHANGES, undoes)
  unmade = not made
  had = made and cmsgpack.unpack(made)[#head + 8] or {}
end

local entry = known_entry(redis.call('HGET', NAMES, article)) or {key, '', '', '', '', '', '-----', 0}
entry[9], entry[10] = type(entry[9]) == 'string' and entry[9] or '', entry[10] == true

local function value_of(place)
  if place == HIDDEN then
    return entry[10] and '1' or '', ''
  elseif place == TYPE then
    return entry[9], ''
  end
  return fact_of(entry, place), standing_of(entry, place)
end

local function set(place, value, standing)
  if place == HIDDEN then
    entry[10] = value ~= ''
  elseif place == TYPE then
    entry[9] = value
  else
    set_fact(entry, place, value, standing)
  end
end

local function mark_of(place)
  return article .. char(place)
end

local setters = {}
for i = 1, #facts do
  setters[i] = redis.call('HGET', SET_BY, mark_of(facts[i][1])) or ''
end
local said = {}
if undoes ~= '' then
  for i = 1, #had do
    local setter = redis.call('HGET', SET_BY, mark_of(had[i][1])) or ''
    if setter ~= undoes then
      return refuse('later', setter)
    end
  end
  for i = 1, #had do
    -- The record of that change has: place, before, after, standing before, the change that had set it.
    local place, before, _, standing, setter = unpack(had[i])
    local now, now_standing = value_of(place)
    said[i] = {place, now, before, now_standing, undoes}
    set(place, before, standing)
    had[i][5] = setter
  end
else
  for i = 1, #facts do
    local place, value = unpack(facts[i])
    local before, standing = value_of(place)
    said[i] = {place, before, value, standing, setters[i]}
    set(place, value, value == '' and '-' or 'e')
  end
end
local touches = count(redis.call('HGET', COUNTS, 'touched'))
redis.call('STRLEN', TOUCHED)

if not unmade then
  write('HSET', NAMES, article, packed_entry(entry))
  if undoes == '' then
    for i = 1, #facts do
      write('HSET', SET_BY, mark_of(facts[i][1]), id)
    end
  else
    for i = 1, #had do
      if had[i][5] == '' then
        write('HDEL', SET_BY, mark_of(had[i][1]))
      else
        write('HSET', SET_BY, mark_of(had[i][1]), had[i][5])
      end
    end
  end
  touch(COUNTS, TOUCHED, touches, {article})
end
local record = record_of(head, seat.number, {-1, -1}, {-1, -1}, {0, 0}, '', {}, '', said)
write_down(seat, record, undoes)
written()
return {'ok', record}

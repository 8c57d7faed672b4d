#!lua
-- Merge an article into another: its counts are added to the other's, in every list that is kept, and its id becomes an
-- alias. Without counts of its own it becomes an alias alone.
--
-- Input
--   KEYS  1 aliases  2 changes  3 baselines  4 views  5… the lists of views: top of all time first, then months, weeks, days
--   ARGV  1 the change's id
--         2 msgpack of: the article's id, the other's id, the other's key, the record's head (store/changes.py), names of
--           the lists in KEYS[5…], how many fields KEYS[4] had when they were listed, the most aliases
--         3 '1' when the article must have been read, '0' when it must not
-- Output
--   {'ok' | 'seen', record}      seen: this change was made before; nothing is written
--   {'again'}                    a list has come up, or an alias, since the caller looked: look again
--   {'refused', reason}          unknown, into-unknown, counted, too-many
--
-- Reads and checks first. The record is the first write and holds what was there before; every other write is absolute and
-- moves both articles' counts of one list at once, so that any first part of the writes may be executed at any later time
-- (a cut append-only file): the same change, made again, then finishes what is missing. The mark that it is done is last.

local id = ARGV[1]
local from, into, into_key, head, names, fields, most = unpack(cmsgpack.unpack(ARGV[2]))
local LISTS = 4

local function digits(number)
  return string.format('%.0f', number)
end

-- Read --------------------------------------------------------------------------------------------------------------

local kept = redis.call('HMGET', KEYS[2], id, id .. ':done')
if kept[2] then
  return {'seen', kept[1]}
end
local record = kept[1] and cmsgpack.unpack(kept[1])
local edges = redis.call('HMGET', KEYS[1], from, into)
if edges[2] or (edges[1] and not record) or redis.call('HLEN', KEYS[4]) ~= fields then
  return {'again'}
end
local aliases = redis.call('HLEN', KEYS[1])
local number = redis.call('HLEN', KEYS[2])
local bases = redis.call('HMGET', KEYS[3], from, into)
local have = {}
for i = 1, #names do
  have[i] = redis.call('ZMSCORE', KEYS[LISTS + i], from, into)
end

-- Decide ------------------------------------------------------------------------------------------------------------

local before = {}
if record then
  for _, list in ipairs(record[#head + 2]) do
    before[list[1]] = list
  end
else
  local counted = tonumber(have[1][1] or '0') > 0
  if ARGV[3] == '1' and not have[1][1] then
    return {'refused', 'unknown'}
  elseif ARGV[3] == '0' and counted then
    return {'refused', 'counted'}
  elseif not have[1][2] then
    return {'refused', 'into-unknown'}
  elseif aliases >= most then
    return {'refused', 'too-many'}
  end
  local lists = {}
  for i = 1, #names do
    local n = tonumber(have[i][1] or '0')
    if n > 0 then
      lists[#lists + 1] = {names[i], n, tonumber(have[i][2] or '-1')}
    end
  end
  record = {}
  for i = 1, #head do
    record[i] = head[i]
  end
  record[#record + 1] = number
  record[#record + 1] = lists
  record[#record + 1] = {tonumber(bases[1] or '-1'), tonumber(bases[2] or '-1')}
end

-- What the other has after the merge. When this is not the first try, `first` and `second` are what the two had before it.
local function sum(n, other, first, second)
  if first and (n == 0 or (n > first and other == first + second)) then
    -- The first try got as far as this. What was counted since for one of them, without knowing of it, stays counted.
    -- (That cannot be told from a list which it did not reach, if the other got exactly `first` since.)
    return other < first + second and other + first or other + math.max(n - first, 0)
  end
  return other + n
end

local writes = {}
for i = 1, #names do
  local n, other, known = tonumber(have[i][1] or '0'), tonumber(have[i][2] or '0'), before[names[i]]
  if n > 0 or (known and have[i][1]) then
    local all = known and sum(n, other, known[2], math.max(known[3], 0)) or sum(n, other)
    writes[#writes + 1] = {KEYS[LISTS + i], digits(all), into, '0', from}
  end
end
local base = record[#head + 3]
local base_sum
do
  local n, other = tonumber(bases[1] or '0'), tonumber(bases[2] or '0')
  base_sum = kept[1] and sum(n, other, base[1], math.max(base[2], 0)) or sum(n, other)
end

-- Write -------------------------------------------------------------------------------------------------------------

if not kept[1] then
  kept[1] = cmsgpack.pack(record)
  redis.call('HSET', KEYS[2], id, kept[1])
end
for _, write in ipairs(writes) do
  redis.call('ZADD', unpack(write))
end
if base[1] >= 0 then
  redis.call('HSET', KEYS[3], into, digits(base_sum), from, '0')
end
redis.call('HSET', KEYS[1], from, into .. into_key)
redis.call('HSET', KEYS[2], id .. ':done', digits(head[2]))
return {'ok', kept[1]}

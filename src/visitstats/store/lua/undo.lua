#!lua
-- Undo a merge: the article gets back what it had at the merge, in every list that is still kept. What was counted for the
-- other one since stays there.
--
-- Input
--   KEYS  1 aliases  2 changes  3 baselines  4… the lists that the merge's record names and the store still keeps
--   ARGV  1 the undo's id   2 the merge's id
--         3 msgpack of: the article's id, the other's id, the record's head (store/changes.py), names of the lists in KEYS[4…]
-- Output
--   {'ok' | 'seen', record}      seen: this undo was made before; nothing is written
--   {'refused', reason, name}    unknown, unfinished, undone, later (the other one was merged itself), moved (the alias is
--                                another one), short (the other one has less in the list `name` than is to be given back)
--
-- Safe to be cut and made again in the same way as merge.lua.

local id, merge = ARGV[1], ARGV[2]
local from, into, head, names = unpack(cmsgpack.unpack(ARGV[3]))
local LISTS = 3

local function digits(number)
  return string.format('%.0f', number)
end

-- Read --------------------------------------------------------------------------------------------------------------

local kept = redis.call('HMGET', KEYS[2], id, id .. ':done', merge, merge .. ':done', merge .. ':undone')
if kept[2] then
  return {'seen', kept[1]}
elseif not kept[3] then
  return {'refused', 'unknown'}
elseif not kept[4] then
  return {'refused', 'unfinished'}
elseif kept[5] and kept[5] ~= id then
  return {'refused', 'undone'}
end
local record = kept[1] and cmsgpack.unpack(kept[1])
local edges = redis.call('HMGET', KEYS[1], from, into)
if edges[2] then
  return {'refused', 'later'}
elseif edges[1] and string.sub(edges[1], 1, 8) ~= into or not (edges[1] or record) then
  return {'refused', 'moved'}
end
local merged = cmsgpack.unpack(kept[3])
local number = redis.call('HLEN', KEYS[2])
local bases = redis.call('HMGET', KEYS[3], from, into)
local have = {}
for i = 1, #names do
  have[i] = redis.call('ZMSCORE', KEYS[LISTS + i], from, into)
end

-- Decide ------------------------------------------------------------------------------------------------------------

local back, absent = {}, {}
for _, list in ipairs(merged[#head + 2]) do
  back[list[1]] = list[2]
  absent[list[1]] = list[3] < 0
end
local base_back = math.max(merged[#head + 3][1], 0)

local before = {}
if record then
  for _, list in ipairs(record[#head + 2]) do
    before[list[1]] = list[2]
  end
else
  local lists = {}
  for i = 1, #names do
    lists[i] = {names[i], tonumber(have[i][1] or '0'), tonumber(have[i][2] or '-1')}
  end
  record = {}
  for i = 1, #head do
    record[i] = head[i]
  end
  record[#record + 1] = number
  record[#record + 1] = lists
  record[#record + 1] = {tonumber(bases[1] or '-1'), tonumber(bases[2] or '-1')}
end

-- Whether the first try has given this back already: until the alias goes, nothing else is counted for the article.
local function given(n, known, amount)
  return known and n >= known + amount
end

local writes, gone = {}, {}
for i = 1, #names do
  local name, n, other = names[i], tonumber(have[i][1] or '0'), tonumber(have[i][2] or '0')
  local amount = back[name]
  if not given(n, before[name], amount) then
    n, other = n + amount, other - amount
  end
  if other < 0 then
    return {'refused', 'short', name}
  end
  writes[i] = {KEYS[LISTS + i], digits(n), from, digits(other), into}
  -- What was not in a list before the merge is not in it again, unless it was read since.
  gone[i] = other == 0 and absent[name]
end
local base, other_base = tonumber(bases[1] or '0'), tonumber(bases[2] or '0')
if base_back > 0 and not given(base, kept[1] and math.max(record[#head + 3][1], 0), base_back) then
  base, other_base = base + base_back, other_base - base_back
  if other_base < 0 then
    return {'refused', 'short', 'baselines'}
  end
end

-- Write -------------------------------------------------------------------------------------------------------------

if not kept[1] then
  kept[1] = cmsgpack.pack(record)
  redis.call('HSET', KEYS[2], id, kept[1])
end
for i, write in ipairs(writes) do
  redis.call('ZADD', unpack(write))
  if gone[i] then
    redis.call('ZREM', KEYS[LISTS + i], into)
  end
end
if base_back > 0 then
  redis.call('HSET', KEYS[3], from, digits(base), into, digits(other_base))
  if other_base == 0 and merged[#head + 3][2] < 0 then
    redis.call('HDEL', KEYS[3], into)
  end
end
redis.call('HSET', KEYS[2], merge .. ':undone', id)
redis.call('HDEL', KEYS[1], from)
redis.call('HSET', KEYS[2], id .. ':done', digits(head[2]))
return {'ok', kept[1]}

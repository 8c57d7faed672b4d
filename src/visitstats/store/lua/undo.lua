#!lua
-- Undo a merge: the article gets back what it had at the merge, in every list that is still kept. What was counted for the
-- other one since stays there.
--
-- Input
--   KEYS  1 aliases  2 changes  3 baselines  4… the lists that the merge's record names and the store still keeps
--   ARGV  1 the undo's id   2 the merge's id
--         3 msgpack of: the article's id, the other's id, the record's head (store/changes.py), names of the lists in KEYS[4…]
--   and at the end of both what ledger.lua wants
-- Output
--   {'ok', record}
--   {'again'}                    the id is taken
--   {'refused', reason, name}    unknown, undone, later (the other one was merged itself), moved (the alias is
--                                another one), short (the other one has less in the list `name` than is to be given back)
--
-- Reads and checks first; absolute writes only, all of them put down together before any is executed (ledger.lua).

local id, merge = ARGV[1], ARGV[2]
local from, into, head, names = unpack(cmsgpack.unpack(ARGV[3]))
local LISTS = 3

local function digits(number)
  return string.format('%.0f', number)
end

-- Read --------------------------------------------------------------------------------------------------------------

local kept = redis.call('HMGET', KEYS[2], id, merge, merge .. ':undone')
if kept[1] then
  return {'again'}
elseif not kept[2] then
  return {'refused', 'unknown'}
elseif kept[3] then
  return {'refused', 'undone'}
end
local edges = redis.call('HMGET', KEYS[1], from, into)
if edges[2] then
  return {'refused', 'later'}
elseif not edges[1] or string.sub(edges[1], 1, 8) ~= into then
  return {'refused', 'moved'}
end
local merged = cmsgpack.unpack(kept[2])
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

local lists = {}
for i = 1, #names do
  lists[i] = {names[i], tonumber(have[i][1] or '0'), tonumber(have[i][2] or '-1')}
end
local record = {}
for i = 1, #head do
  record[i] = head[i]
end
record[#record + 1] = number
record[#record + 1] = lists
record[#record + 1] = {tonumber(bases[1] or '-1'), tonumber(bases[2] or '-1')}
record = cmsgpack.pack(record)

for i = 1, #names do
  if tonumber(have[i][2] or '0') < back[names[i]] then
    return {'refused', 'short', names[i]}
  end
end
if tonumber(bases[2] or '0') < base_back then
  return {'refused', 'short', 'baselines'}
end

-- Write -------------------------------------------------------------------------------------------------------------

for i = 1, #names do
  local amount = back[names[i]]
  local n, other = tonumber(have[i][1] or '0') + amount, tonumber(have[i][2] or '0') - amount
  write('ZADD', KEYS[LISTS + i], digits(n), from, digits(other), into)
  -- What was not in a list before the merge is not in it again, unless it was read since.
  if other == 0 and absent[names[i]] then
    write('ZREM', KEYS[LISTS + i], into)
  end
end
if base_back > 0 then
  local other = tonumber(bases[2] or '0') - base_back
  write('HSET', KEYS[3], from, digits(tonumber(bases[1] or '0') + base_back), into, digits(other))
  if other == 0 and merged[#head + 3][2] < 0 then
    write('HDEL', KEYS[3], into)
  end
end
write('HDEL', KEYS[1], from)
write('HSET', KEYS[2], id, record, merge .. ':undone', id)
written()
return {'ok', record}

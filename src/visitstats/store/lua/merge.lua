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
--   and at the end of both what ledger.lua wants
-- Output
--   {'ok', record}
--   {'again'}                    a list has come up, or an alias, since the caller looked, or the id is taken: look again
--   {'refused', reason}          unknown, into-unknown, counted, too-many
--
-- Reads and checks first; absolute writes only, all of them put down together before any is executed (ledger.lua).

local id = ARGV[1]
local from, into, into_key, head, names, fields, most = unpack(cmsgpack.unpack(ARGV[2]))
local LISTS = 4

local function digits(number)
  return string.format('%.0f', number)
end

-- Read --------------------------------------------------------------------------------------------------------------

if redis.call('HEXISTS', KEYS[2], id) == 1 then
  return {'again'}
end
local edges = redis.call('HMGET', KEYS[1], from, into)
if edges[1] or edges[2] or redis.call('HLEN', KEYS[4]) ~= fields then
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
local record = {}
for i = 1, #head do
  record[i] = head[i]
end
record[#record + 1] = number
record[#record + 1] = lists
record[#record + 1] = {tonumber(bases[1] or '-1'), tonumber(bases[2] or '-1')}
record = cmsgpack.pack(record)

-- Write -------------------------------------------------------------------------------------------------------------

for i = 1, #names do
  local n, other = tonumber(have[i][1] or '0'), tonumber(have[i][2] or '0')
  if n > 0 then
    write('ZADD', KEYS[LISTS + i], digits(other + n), into, '0', from)
  end
end
if bases[1] then
  write('HSET', KEYS[3], into, digits(tonumber(bases[1]) + tonumber(bases[2] or '0')), from, '0')
end
write('HSET', KEYS[1], from, into .. into_key)
write('HSET', KEYS[2], id, record)
written()
return {'ok', record}

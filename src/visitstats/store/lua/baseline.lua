#!lua
-- Set the baselines of articles (rule 7: total = baseline + counted). Absolute and safe to run twice.
--
-- Input
--   KEYS  1 top of all time  2 baselines  3 names  4 views
--   ARGV  1 msgpack of: article ids, their baselines, their dictionary entries ('' to keep the present one)
--         2 the name of the site's baseline among its views
--   and at the end of both what ledger.lua wants
-- Output
--   the number of articles

local ids, counts, entries = unpack(cmsgpack.unpack(ARGV[1]))
if #ids == 0 then
  return 0
end
local shown = redis.call('ZMSCORE', KEYS[1], unpack(ids))
local before = redis.call('HMGET', KEYS[2], unpack(ids))
local total = tonumber(redis.call('HGET', KEYS[4], ARGV[2]) or '0')
redis.call('HLEN', KEYS[3])

local function digits(number)
  return string.format('%.0f', number)
end

local scores, bases, names = {}, {}, {}
for i = 1, #ids do
  local old = tonumber(before[i] or '0')
  total = total + counts[i] - old
  scores[#scores + 1] = digits(tonumber(shown[i] or '0') - old + counts[i])
  scores[#scores + 1] = ids[i]
  bases[#bases + 1] = ids[i]
  bases[#bases + 1] = digits(counts[i])
  if entries[i] ~= '' then
    names[#names + 1] = ids[i]
    names[#names + 1] = entries[i]
  end
end

write('ZADD', KEYS[1], unpack(scores))
if #names > 0 then
  write('HSET', KEYS[3], unpack(names))
end
write('HSET', KEYS[4], ARGV[2], digits(total))
write('HSET', KEYS[2], unpack(bases))
written()
return #ids

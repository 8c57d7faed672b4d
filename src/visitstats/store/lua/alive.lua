#!lua
-- Prolong the presence of visitors by their heartbeats (rule 4 of core/counting.py). Not journalled: a lost heartbeat is
-- made good by the next. Absolute and safe to run twice.
--
-- Input
--   KEYS  1 seen today  2 seen yesterday
--   ARGV  1 msgpack of: visit gap, carried slot, slots, online (ms), tokens, yesterday's tokens ('' for none), moments (ms)
--         2 when "seen today" expires, as Unix seconds
--   and at the end of both what ledger.lua wants; these writes are not put down
-- Output
--   how many visitors were prolonged

local gap, carried, slot_count, online_ms, tokens, old_tokens, times = unpack(cmsgpack.unpack(ARGV[1]))
local today = redis.call('ZMSCORE', KEYS[1], unpack(tokens))
local yesterday = {}
do
  local asked = {}
  for i = 1, #old_tokens do
    asked[i] = old_tokens[i]
  end
  yesterday = redis.call('ZMSCORE', KEYS[2], unpack(asked))
end

local function digits(number)
  return string.format('%.0f', number)
end

local function parts(score)
  local slot = score % slot_count
  return (score - slot) / slot_count, slot
end

local now_today, now_yesterday, prolonged = {}, {}, 0
for i = 1, #tokens do
  local score, old = tonumber(today[i] or nil), tonumber(yesterday[i] or nil)
  if score then
    local last, slot = parts(score)
    if times[i] - last <= gap and times[i] > last then
      now_today[#now_today + 1] = digits(times[i] * slot_count + slot)
      now_today[#now_today + 1] = tokens[i]
      prolonged = prolonged + 1
    end
  elseif old and old_tokens[i] ~= '' then
    -- A visit of yesterday that goes on over midnight: today's token takes its place (rule 2), without a visit of today
    -- until there is a hit (rule 3).
    local last, slot = parts(old)
    if times[i] - last <= gap then
      now_today[#now_today + 1] = digits(times[i] * slot_count + carried)
      now_today[#now_today + 1] = tokens[i]
      now_yesterday[#now_yesterday + 1] = digits(math.min(last, times[i] - online_ms - 1) * slot_count + slot)
      now_yesterday[#now_yesterday + 1] = old_tokens[i]
      prolonged = prolonged + 1
    end
  end
end

if #now_today > 0 then
  redis.call('ZADD', KEYS[1], unpack(now_today))
  redis.call('EXPIREAT', KEYS[1], ARGV[2])
end
if #now_yesterday > 0 then
  redis.call('ZADD', KEYS[2], unpack(now_yesterday))
end
return prolonged

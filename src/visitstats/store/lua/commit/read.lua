#!lua
-- Commit one batch (rules 2 to 5, 8 and 9 of core/counting.py). One script in four parts: the reads (this file),
-- articles.lua, decide.lua, write.lua.
--
-- Input
--   KEYS  1 watermarks  2 presences of the batch's day  3 of the day before  4 hit ids of the batch's half hour  5 of the
--         one before  6 of the one after  7 ring of seconds  8 counts of years and of all time  9 counts of the month and
--         its days  10 articles  11 articles of the day  12 names  13 aliases  14 counts of the day's hours  15 ignored
--         beacons of the month  16 claims of the day  17 what of limits is taken on the day  18 numbers of articles
--         19 touched entries  20 sketch of the hour's unique visitors  21… SKETCHES of the day's unique visitors, each for
--         its share of the tokens; then the counts to answer, one key for each list of ARGV[7] (store/keys.py)
--   ARGV  1 to 4 what ledger.lua wants
--         5 core.batch.Batch.body (msgpack)
--         6 the earliest moment at which a key may expire that is made now (Unix seconds)
--         7 lists of the fields to answer, one for each of the last keys (msgpack)
--         8 the hour of the day in which all of the batch's hits came, counted from midnight
--   and at the end of both what ledger.lua wants
-- Constants from core/counting.py, core/batch.py, core/entries.py and core/limits.py (store/commit.py puts them before
-- this)
--   GAP, HALF_HOUR, CARRIED, ONLINE (ms), RING, HEAD, READING, MOST_READINGS, OTHER_ID, OTHER_ENTRY; from store/keys.py
--   DECIDING_MS, UNIQUES_LIFE_MS, HOURS_LIFE_MS, CLAIMS_LIFE_MS, SKETCHES, MOST_TOUCHED; LEAST_LIFE (s): how far the
--   moment of ARGV[6] is from now; those of claims.lua, of places for articles, and of what a site-day may hold
-- Output
--   {'gap', watermark}           nothing was written: go back to the record after the watermark
--   {'ok' | 'seen', duplicates, started, articles, added, states, capped, ring, counts}
--        duplicates: a byte per event, 1 for a hit that was delivered before. started: new visits. articles, for each of
--        the batch's: its views of all time; -1 when it is counted as "(other)"; -2 - views when its name is not known
--        here yet. added, for each: the views that it got, negative when they went to "(other)". states: a byte for
--        each, its core.batch.State. capped: hits of visitors who were not told apart, readings and hit
--        ids that were not kept, because the day has too many. ring: see core.counting.online_in. seen: the ledger had
--        the batch; duplicates and states are '', started, added and capped are 0
--
-- The cost of a hit does not grow with the site: only hashes, sets and strings are used, and only the needed fields are
-- read.

local FIRST_SKETCH = 21
local FIRST_ANSWER = FIRST_SKETCH + SKETCHES
local previous = tonumber(ARGV[3])
local mark = watermark()
if previous > mark then
  return {'gap', digits(mark)}
end

local day_start, day_end, tokens, times, which, hit_ids, uniques, readings, carries, ids, entries, cap, counters, ignored, most_visitors =
  unpack(cmsgpack.unpack(ARGV[5]))
local events, articles = #tokens, #ids
if not most_visitors then
  -- A record of schema 2 names neither the network of a claim nor the most visitors of a day.
  most_visitors = 2 ^ 31
  local event_of = {}
  for i = events, 1, -1 do
    event_of[which[i]] = i - 1
  end
  for n = 1, #entries do
    local place, entry = unpack(entries[n])
    entries[n] = {place, event_of[place], TRUSTED, '', entry}
  end
end

-- What is known of the articles ------------------------------------------------------------------------------------------

-- A batch may be older than a merge (a replay, another worker): views of the old article count for the one into which it
-- was merged (core/keys.py, rule 7). Merges make no loops; the bound is for a damaged store.
local merged = {}
if articles > 0 and redis.call('EXISTS', KEYS[13]) == 1 then
  for _ = 1, 1000 do
    local found, again = redis.call('HMGET', KEYS[13], unpack(ids)), false
    for i = 1, articles do
      if found[i] then
        ids[i] = sub(found[i], 1, 8)
        merged[i] = true
        again = true
      end
    end
    if not again then
      break
    end
  end
end

local function number(text, key)
  return tonumber(text) or error('a count in ' .. key .. ' is no number')
end

local function read_counts(key)
  local counts = {}
  if articles > 0 then
    local found = redis.call('HMGET', key, unpack(ids))
    for i = 1, articles do
      counts[ids[i]] = found[i] and number(found[i], key) or nil
    end
  end
  return counts
end

local function read_fields(key, fields)
  local found = redis.call('HMGET', key, unpack(fields))
  for i = 1, #fields do
    found[i] = number(found[i] or '0', key)
  end
  return found
end

local all = read_counts(KEYS[10])

local function answer(word, duplicates, started, target, unknown, gains, states, capped)
  local shown = {}
  for i = 1, articles do
    local count = all[ids[i]]
    if target and target[i] ~= ids[i] or not target and not count then
      shown[i] = -1 -- the ledger had the batch: views of an article that is not registered by now went to "(other)"
    elseif unknown and unknown[i] then
      shown[i] = -2 - (count or 0)
    else
      shown[i] = count or 0
    end
    gains[i] = gains[i] or 0
  end
  local counts = {}
  for i, fields in ipairs(cmsgpack.unpack(ARGV[7])) do
    counts[i] = redis.call('HMGET', KEYS[FIRST_ANSWER + i - 1], unpack(fields))
  end
  return {word, duplicates, started, shown, gains, states, capped, redis.call('GET', KEYS[7]) or '', counts}
end

if tonumber(ARGV[2]) <= mark then
  return answer('seen', '', 0, nil, nil, {}, '', {0, 0, 0})
end

-- Read -----------------------------------------------------------------------------------------------------------------

-- Of each visitor: the moment last seen (ms), the half hour in which the visit began, and the readings.
local last, half_hour, read = {}, {}, {}
local function take_in(name, stored)
  if stored then
    if (#stored - HEAD) % READING ~= 0 then
      error('a presence of ' .. #stored .. ' bytes is damaged')
    end
    local moment, began = struct.unpack('>I6B', stored)
    last[name], half_hour[name], read[name] = moment, began, sub(stored, HEAD + 1)
  end
end

local function read_presences(key, names, prefix)
  for from = 1, #names, PIECE do
    local to = min(from + PIECE - 1, #names)
    local found = redis.call('HMGET', key, unpack(names, from, to))
    for i = from, to do
      take_in(prefix .. names[i], found[i - from + 1])
    end
  end
end

-- Puts a visitor's token of the day before apart from today's: tokens have 8 bytes, and these names are longer.
local BEFORE = '--'
local old_tokens, old_of = {}, {}
for i = 1, #carries do
  old_tokens[i] = carries[i][2]
  old_of[carries[i][1] + 1] = BEFORE .. carries[i][2]
end
if events > 0 then
  read_presences(KEYS[2], tokens, '')
end
if #old_tokens > 0 then
  read_presences(KEYS[3], old_tokens, BEFORE)
end

local delivered = {}
do
  local asked = {}
  for i = 1, events do
    if hit_ids[i] ~= '' then
      asked[#asked + 1] = hit_ids[i]
    end
  end
  for n = 4, 6 do
    for from = 1, #asked, PIECE do
      local to = min(from + PIECE - 1, #asked)
      local found = redis.call('SMISMEMBER', KEYS[n], unpack(asked, from, to))
      for i = from, to do
        if found[i - from + 1] == 1 then
          delivered[asked[i]] = true
        end
      end
    end
  end
end

local ring = events > 0 and redis.call('GET', KEYS[7]) or ''
local day = read_counts(KEYS[11])

-- What the day holds: visitors, readings, hit ids.
local HELD, CROWD = '#', string.rep(char(0), 8)
local visitors, visitors_before, kept_readings, kept_ids, is_held = 0, 0, 0, 0, false
if events > 0 then
  visitors = redis.call('HLEN', KEYS[2])
  visitors_before = visitors
  local held = redis.call('HGET', KEYS[17], HELD)
  if held and #held == 8 then
    kept_readings, kept_ids = struct.unpack('>I4I4', held)
    is_held = true
  end
end
local readings_before, ids_before = kept_readings, kept_ids

-- What beacons say about each article, in the order of the events. A beacon that is not counted says nothing.
local saying, said_of = {}, {}
if #entries > 0 then
  local first = {}
  for i = events, 1, -1 do
    first[hit_ids[i]] = i
  end
  for n = 1, #entries do
    local place, event = entries[n][1] + 1, entries[n][2] + 1
    local id = hit_ids[event]
    -- The entry that a beacon sent for an article that was merged has the old key.
    if not merged[place] and ids[place] ~= OTHER_ID and (id == '' or not delivered[id] and first[id] == event) then
      if not saying[place] then
        saying[place] = {}
        said_of[#said_of + 1] = place
      end
      insert(saying[place], entries[n])
    end
  end
end
local named, claimed = {}, {}
if #said_of > 0 then
  local asked = {}
  for n = 1, #said_of do
    asked[n] = ids[said_of[n]]
  end
  local names, claims = redis.call('HMGET', KEYS[12], unpack(asked)), redis.call('HMGET', KEYS[16], unpack(asked))
  for n = 1, #said_of do
    named[said_of[n]], claimed[said_of[n]] = names[n], claims[n]
  end
end

#!lua
-- Commit one batch to the articles ledger: what was read (rule 5 of core/counting.py).
--
-- Input
--   KEYS  1 watermark  2 top of all time  3 top of the day  4 top of the week  5 top of the month  6 views  7 names
--         8 aliases  9 orphans, see below  10… one set of readings for each half hour in ARGV[5]
--   ARGV  1 the batch's sequence   2 the sequence of the writer's batch before it
--         3 core.batch.Batch.articles (msgpack)
--         4 expiries (msgpack: watermark seconds, day, week, readings as Unix seconds)
--         5 the half hours whose sets are KEYS[9…] (msgpack)   6 slots, as audience.lua answered them
--         7 names of the counts to answer (msgpack)
--         8 what was decided before about this batch (msgpack: for each article the views added, negative when they went
--           to "(other)"; '' when nothing was)
--         9 a byte for each hit, 2 or 3 when it was counted as a view ('' when that is not known)
--         10 'late' when the batch is decided behind others that came after it (a replay)
--   and at the end of both what ledger.lua wants
-- Output
--   {'gap', watermark}                              nothing was written: rewind to watermark + 1
--   {'ok' | 'kept' | 'seen', articles, n, …, added, …, counted, count, …}
--                      n, for each of the articles: its views of all time; -1 when it is counted as "(other)"; -2 - views
--                      when its name is not known here yet. added, for each: as in ARGV[8]. counted: a byte for each hit, 2
--                      when it was counted as a view. kept: the ledger had the batch, and repeats what it decided; seen:
--                      it had it, and added (all 0) and counted ('') are not known
--
-- An orphan is a reading of a decided batch that was put back, but not the one that was counted as the view, when that was
-- decided by another worker: its outcome may be lost, and then it is decided behind, and must be counted (as in
-- audience.lua). Only then: of a visit of hours the reading that counted may be in a record that was reduced, where nobody
-- can tell any more which it was, and an article that is opened again must not count again for that.
--
-- Reads and checks first; absolute writes only; the watermark last: see audience.lua.

local sequence, previous = tonumber(ARGV[1]), tonumber(ARGV[2])
local mark = redis.call('HMGET', KEYS[1], 's', 'n')
local watermark = tonumber(mark[1] or '0')
if previous > watermark then
  return {'gap', string.format('%.0f', watermark)}
end

local ids, which, readings, every_load, entries, cap, other_id, other_entry, counters = unpack(cmsgpack.unpack(ARGV[3]))
local expire = cmsgpack.unpack(ARGV[4])
local half_hours = cmsgpack.unpack(ARGV[5])
local slots = ARGV[6]
local articles = #ids
local DUPLICATE = 255
local PIECE = 4000
local KEPT_DECISIONS = 16 -- commit.KEPT_DECISIONS

local function digits(number)
  return string.format('%.0f', number)
end

-- A batch may be older than a merge (a replay, another worker): what was read of the old article counts for the one that
-- it was merged into (core/keys.py, rule 7). Merges make no loops; the bound is for a damaged store. Without aliases this costs
-- 0.3 µs a batch (EXISTS).
local merged = {}
if articles > 0 and redis.call('EXISTS', KEYS[8]) == 1 then
  for _ = 1, 1000 do
    local found, again = redis.call('HMGET', KEYS[8], unpack(ids)), false
    for i = 1, articles do
      if found[i] then
        ids[i] = string.sub(found[i], 1, 8)
        merged[i] = true
        again = true
      end
    end
    if not again then
      break
    end
  end
end

local function read_scores(key)
  local scores = {}
  if articles > 0 then
    local found = redis.call('ZMSCORE', key, unpack(ids))
    for i = 1, articles do
      scores[ids[i]] = tonumber(found[i] or nil)
    end
  end
  return scores
end

local all = read_scores(KEYS[2])

local function answer(word, target, unknown, gains, counted)
  local reply = {word, articles}
  for i = 1, articles do
    local count = all[ids[i]]
    if target and target[i] ~= ids[i] then
      reply[#reply + 1] = -1
    elseif unknown and unknown[i] then
      reply[#reply + 1] = -2 - (count or 0)
    else
      reply[#reply + 1] = count or 0
    end
  end
  for i = 1, articles do
    reply[#reply + 1] = gains and gains[i] or 0
  end
  reply[#reply + 1] = counted
  local counts = redis.call('HMGET', KEYS[6], unpack(cmsgpack.unpack(ARGV[7])))
  for i = 1, #counts do
    reply[#reply + 1] = tonumber(counts[i] or '0')
  end
  return reply
end

if sequence <= watermark then
  -- An article that is not registered by now went to "(other)".
  local target = {}
  for i = 1, articles do
    target[i] = all[ids[i]] and ids[i]
  end
  local names = {}
  for i = 1, KEPT_DECISIONS do
    names[i] = 'd' .. (i - 1)
  end
  local start = ARGV[1] .. ':'
  for _, kept in pairs(redis.call('HMGET', KEYS[1], unpack(names))) do
    if kept and string.sub(kept, 1, #start) == start and #kept > #start + #which then
      local counted = string.sub(kept, #start + 1, #start + #which)
      local whole, gains = pcall(cmsgpack.unpack, string.sub(kept, #start + #which + 1))
      if whole and type(gains) == 'table' and #gains == articles then
        return answer('kept', target, nil, gains, counted)
      end
    end
  end
  return answer('seen', target, nil, nil, '')
end

-- Read --------------------------------------------------------------------------------------------------------------

local slot_of = {}
for i = 1, #which do
  slot_of[i] = byte(slots, i)
end
local set_of = {}
for i = 1, #half_hours do
  set_of[half_hours[i]] = KEYS[9 + i]
end

local late = ARGV[10] == 'late'
local marks = ARGV[8] ~= '' and ARGV[9] or ''
local function orphan_name(i)
  return string.sub(slots, i, i) .. readings[i]
end
local orphans = {}
if #readings > 0 and (late or marks ~= '') then
  for from = 1, #readings, PIECE do
    local names = {}
    for i = from, min(from + PIECE - 1, #readings) do
      names[#names + 1] = orphan_name(i)
    end
    local found = redis.call('HMGET', KEYS[9], unpack(names))
    for n = 1, #names do
      orphans[names[n]] = found[n] == '1'
    end
  end
else
  redis.call('HLEN', KEYS[9])
end

local counted_before = {}
if not every_load then
  local asked = {}
  for i = 1, #which do
    local slot = slot_of[i]
    if slot ~= DUPLICATE then
      local members = asked[slot]
      if not members then
        members = {}
        asked[slot] = members
      end
      insert(members, readings[i])
    end
  end
  for slot, members in pairs(asked) do
    local known = {}
    counted_before[slot] = known
    for from = 1, #members, PIECE do
      local to = min(from + PIECE - 1, #members)
      local found = redis.call('SMISMEMBER', set_of[slot], unpack(members, from, to))
      for i = from, to do
        if found[i - from + 1] == 1 then
          known[members[i]] = true
        end
      end
    end
  end
end

local day, week, month = read_scores(KEYS[3]), read_scores(KEYS[4]), read_scores(KEYS[5])
local count_now = redis.call('HMGET', KEYS[6], unpack(counters))
-- Without those that have no view (they were merged into others), and without "(other)": they take no places.
local registered = redis.call('ZCOUNT', KEYS[2], '(0', '+inf')
if tonumber(redis.call('ZSCORE', KEYS[2], other_id) or '0') > 0 then
  registered = registered - 1
end
local named = {}
if #entries > 0 then
  for i = 1, #entries do
    named[i] = ids[entries[i][1] + 1]
  end
  named = redis.call('HMGET', KEYS[7], unpack(named))
else
  redis.call('HLEN', KEYS[7])
end

-- Decide ------------------------------------------------------------------------------------------------------------

local entry_of = {}
for i = 1, #entries do
  local entry = entries[i][2]
  if merged[entries[i][1] + 1] then
    entry = nil -- it names the old article
  elseif named[i] then
    -- What a beacon does not say (a picture has no title) stays as it is.
    local new, whole, old = cmsgpack.unpack(entry), pcall(cmsgpack.unpack, named[i])
    for field = 1, whole and type(old) == 'table' and #old or 0 do
      if not new[field] or new[field] == '' then
        new[field] = old[field]
      end
    end
    entry = cmsgpack.pack(new)
  end
  entry_of[entries[i][1] + 1] = entry
end

-- An article beyond the site's cap is counted as "(other)" and leaves no trace of its own (bad-inputs row 13).
local target = {}
local unknown = {}
local use_other = false
local decided = ARGV[8] ~= '' and cmsgpack.unpack(ARGV[8])
for i = 1, articles do
  target[i] = ids[i]
  if decided and decided[i] < 0 then
    target[i] = other_id
    use_other = true
  elseif not all[ids[i]] then
    if decided or (ids[i] ~= other_id and registered < cap) then
      registered = registered + 1
      unknown[i] = not entry_of[i]
    else
      target[i] = other_id
      use_other = true
    end
  end
end

local added = {}
local gains = {}
for i = 1, articles do
  gains[i] = 0
end
local new_readings = {}
local new_orphans = {}
local COUNTED, NOT_COUNTED = char(2), char(0)
local counted = {}
local total = 0
local function gain(i, n)
  local article = target[i]
  added[article] = (added[article] or 0) + n
  gains[i] = gains[i] + (article == ids[i] and n or -n)
  total = total + n
end

local elsewhere = {}
if decided then
  -- A replay repeats what was counted, but for what was counted meanwhile by another writer: the beacon itself, or another
  -- that was decided before this came back, and counted in its place.
  local dropped = {}
  for i = 1, marks == '' and 0 or #which do
    local slot = slot_of[i]
    local known = slot == DUPLICATE or not every_load and counted_before[slot][readings[i]] and not orphans[orphan_name(i)]
    if known and byte(marks, i) >= 2 then
      elsewhere[i] = true
      dropped[which[i] + 1] = (dropped[which[i] + 1] or 0) + 1
    end
  end
  for i = 1, articles do
    local n = math.abs(decided[i]) - (dropped[i] or 0)
    if n > 0 then
      gain(i, n)
    end
  end
end
local function note_orphan(name, is)
  orphans[name] = is
  new_orphans[#new_orphans + 1] = name
  new_orphans[#new_orphans + 1] = is and '1' or ''
end
for i = 1, #which do
  local slot = slot_of[i]
  local counts = false
  if slot ~= DUPLICATE then
    counts = every_load
    local known = not every_load and counted_before[slot][readings[i]]
    if not every_load and not known and marks ~= '' and byte(marks, i) < 2 then
      note_orphan(orphan_name(i), true)
    elseif marks ~= '' and byte(marks, i) >= 2 and orphans[orphan_name(i)] then
      note_orphan(orphan_name(i), false)
    elseif known and late and orphans[orphan_name(i)] then
      counts = true
      note_orphan(orphan_name(i), false)
    end
    if not every_load and not known then
      counted_before[slot][readings[i]] = true
      new_readings[slot] = new_readings[slot] or {}
      insert(new_readings[slot], readings[i])
      counts = true
    end
    if counts and not decided then
      gain(which[i] + 1, 1)
    end
  end
  if marks ~= '' then
    counts = byte(marks, i) >= 2 and not elsewhere[i]
  end
  counted[i] = counts and COUNTED or NOT_COUNTED
end
counted = table.concat(counted)

local new_names = {}
for i = 1, articles do
  if entry_of[i] and target[i] == ids[i] and (all[ids[i]] or added[ids[i]]) then
    new_names[#new_names + 1] = ids[i]
    new_names[#new_names + 1] = entry_of[i]
  end
end

-- Write -------------------------------------------------------------------------------------------------------------

if use_other then
  -- Its counts are read here and not above, because few batches need them.
  for key, scores in pairs({[KEYS[2]] = all, [KEYS[3]] = day, [KEYS[4]] = week, [KEYS[5]] = month}) do
    if not scores[other_id] then
      scores[other_id] = tonumber(redis.call('ZSCORE', key, other_id) or nil)
    end
  end
  new_names[#new_names + 1] = other_id
  new_names[#new_names + 1] = other_entry
end

local function add_to(key, scores)
  local fields = {}
  for article, n in pairs(added) do
    scores[article] = (scores[article] or 0) + n
    fields[#fields + 1] = scores[article]
    fields[#fields + 1] = article
  end
  if #fields > 0 then
    write('ZADD', key, unpack(fields))
  end
end

add_to(KEYS[2], all)
add_to(KEYS[3], day)
add_to(KEYS[4], week)
add_to(KEYS[5], month)
if total > 0 then
  write('EXPIREAT', KEYS[3], expire[2])
  write('EXPIREAT', KEYS[4], expire[3])
  local fields = {}
  for i = 1, #counters do
    fields[#fields + 1] = counters[i]
    fields[#fields + 1] = digits(tonumber(count_now[i] or '0') + total)
  end
  write('HSET', KEYS[6], unpack(fields))
end

for slot, members in pairs(new_readings) do
  for from = 1, #members, PIECE do
    write('SADD', set_of[slot], unpack(members, from, min(from + PIECE - 1, #members)))
  end
  if redis.call('EXPIRETIME', set_of[slot]) < expire[4] then
    write('EXPIREAT', set_of[slot], expire[4])
  end
end

for from = 1, #new_orphans, PIECE do
  write('HSET', KEYS[9], unpack(new_orphans, from, min(from + PIECE - 1, #new_orphans)))
end
if #new_orphans > 0 then
  write('EXPIREAT', KEYS[9], expire[4])
end

if #new_names > 0 then
  write('HSET', KEYS[7], unpack(new_names))
end

local turn = digits((tonumber(mark[2] or '0') + 1) % KEPT_DECISIONS)
local kept = ARGV[1] .. ':' .. (decided and ARGV[9] == '' and '' or counted .. cmsgpack.pack(gains))
write('HSET', KEYS[1], 's', ARGV[1], 'n', turn, 'd' .. turn, kept)
write('EXPIRE', KEYS[1], expire[1])
written()
return answer('ok', target, unknown, gains, counted)

#!lua
-- Commit one batch: who was here, and what was read (rules 2 to 5, 8 and 9 of core/counting.py).
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
--        each, what to do about it (core.batch.State). capped: hits of visitors who were not told apart, readings and hit
--        ids that were not kept, because the day has too many. ring: see core.counting.online_in. seen: the ledger had
--        the batch; duplicates and states are '', started, added and capped are 0
--
-- What a hit costs does not grow with the site: hashes, sets and strings only, and each is asked for what it needs.

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
  -- A record of schema 2 says neither who brought a name nor how many visitors a day may have.
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

-- A batch may be older than a merge (a replay, another worker): what was read of the old article counts for the one that
-- it was merged into (core/keys.py, rule 7). Merges make no loops; the bound is for a damaged store.
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
      shown[i] = -1 -- of a batch that the ledger had: what is not registered by now went to "(other)"
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

-- What is known of a visitor under the token of the day before has a longer name: tokens have 8 bytes.
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

-- What beacons say of articles: of each article, in the order of the events. Whatever is not counted says nothing.
local saying, said_of = {}, {}
if #entries > 0 then
  local first = {}
  for i = events, 1, -1 do
    first[hit_ids[i]] = i
  end
  for n = 1, #entries do
    local place, event = entries[n][1] + 1, entries[n][2] + 1
    local id = hit_ids[event]
    -- An entry of an article that was merged names the old one.
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

-- Articles: which one a view of each counts for ---------------------------------------------------------------------------

-- Of each article: what is to be done about it, the id for which its views count, and whether its name is not known yet.
local states, target, unknown, new_places = {}, {}, {}, {}
do -- a script has 200 local variables at most
local is_read, enter, registered, is_full

local function read_places()
  -- Which articles have a hit that was not delivered before, and what of places is taken by those who bring new ones.
  is_read = {}
  local fresh, taken, fields = {}, {}, nil
  for event = 1, events do
    if which[event] >= 0 and not delivered[hit_ids[event]] then
      is_read[which[event] + 1] = true
    end
  end
  for i = 1, articles do
    if is_read[i] and not all[ids[i]] and ids[i] ~= OTHER_ID then
      fresh[#fresh + 1] = i
    end
  end
  fields, enter = placing(ids, saying, times, cap, taken, new_places)
  local asked = fields(fresh)
  for from = 1, #asked, PIECE do
    local to = min(from + PIECE - 1, #asked)
    local found = redis.call('HMGET', KEYS[17], unpack(asked, from, to))
    for n = from, to do
      taken[asked[n]] = found[n - from + 1] or nil
    end
  end
  registered = redis.call('HLEN', KEYS[10]) - redis.call('HEXISTS', KEYS[10], OTHER_ID)
  is_full = redis.call('HLEN', KEYS[17]) >= MOST_PLACES
end

for i = 1, articles do
  target[i], states[i] = ids[i], SETTLED
  if not all[ids[i]] then
    if not registered then
      read_places()
    end
    local state = is_read[i] and ids[i] ~= OTHER_ID and enter(i, registered, is_full) or nil
    if state == SETTLED then
      registered = registered + 1
      unknown[i] = not saying[i]
    else
      target[i], states[i] = OTHER_ID, state or SETTLED
    end
  end
end
end

-- What they are called ---------------------------------------------------------------------------------------------------

local entry_of, claims_of, many_claimed = {}, {}, nil
do
local known_entry, known_claims, first_entry, weigh, is_open, packed_entry
if #said_of > 0 then
  known_entry, known_claims, first_entry, weigh, is_open, packed_entry = weighing()
end
for _, i in ipairs(said_of) do
  if target[i] == ids[i] then
    local entry, claims = known_entry(named[i]), known_claims(claimed[i])
    local changed, spoken = false, false
    for _, claim in ipairs(saying[i]) do
      local _, event, how, network, said = unpack(claim)
      local new = cmsgpack.unpack(said)
      if not entry then
        -- Also of one that is called nothing yet: a worker did not know that it had given its place back (prune.lua).
        local is_new = not all[ids[i]] or all[ids[i]] == day[ids[i]]
        entry, changed = first_entry(new, how, network, floor(day_start / 86400000), is_new), true
      else
        local other, another = weigh(entry, claims, new, how, network, floor(times[event + 1] / 1000))
        changed, spoken = changed or other, spoken or another
      end
    end
    entry_of[i] = changed and packed_entry(entry) or nil
    if spoken then
      if not claimed[i] then
        many_claimed = (many_claimed or redis.call('HLEN', KEYS[16])) + 1
      end
      -- Without room for what is said, what they are called stays as it is.
      if claimed[i] or many_claimed <= MOST_CLAIMED then
        claims_of[i] = cmsgpack.pack(claims)
      elseif named[i] then
        entry_of[i] = nil
      end
    end
    states[i] = is_open(entry, claims) and OPEN or SETTLED
  end
end
end

-- Decide: each event in its turn -----------------------------------------------------------------------------------------

local changed, moved = {}, {}

-- What lies further ahead than the ring reaches was noted by a clock that was put right since: it gives way to whatever
-- comes now, or nobody who comes would be online before that moment has come.
local HORIZON = tonumber(ARGV[6]) - LEAST_LIFE + RING - ONLINE / 1000
local function is_ahead(moment)
  return moment / 1000 >= HORIZON
end

local function seen_at(name, moment)
  -- Move a visitor from the second of one last sign to that of another.
  local before = last[name]
  if before ~= moment then
    if before then
      local second = floor(before / 1000)
      moved[second] = (moved[second] or 0) - 1
    end
    local second = floor(moment / 1000)
    moved[second] = (moved[second] or 0) + 1
    last[name] = moment
  end
  changed[name] = true
end

local function leave(name, moment)
  -- Rule 2: who has a token of today is not online under yesterday's. The old presence stays, for late hits of yesterday.
  local left = moment - ONLINE - 1000
  if last[name] and left < last[name] then
    seen_at(name, left)
  end
end

local started, new_uniques = 0, {}
local folded, lost_readings, lost_ids = 0, 0, 0
local most_readings, most_ids = READINGS_A_VISITOR * most_visitors, IDS_A_VISITOR * most_visitors
local function is_full()
  -- Whether the day has so many visitors that one who was not here yet is not told apart; else takes a place.
  if visitors >= most_visitors then
    return true
  end
  visitors = visitors + 1
  return false
end

local function visit(name, moment, unique)
  -- Rule 3, as in core.counting.Presence.hit.
  local known = last[name]
  if not known or half_hour[name] == CARRIED or moment - known > GAP then
    started = started + 1
    half_hour[name] = floor((moment - day_start) / HALF_HOUR)
    read[name] = read[name] or ''
    seen_at(name, moment)
    local part = byte(unique, 1) % SKETCHES
    new_uniques[part] = new_uniques[part] or {}
    insert(new_uniques[part], unique)
  elseif moment > known or is_ahead(known) then
    seen_at(name, moment)
  end
end

local function is_new_reading(name, reading)
  -- Rule 5. Each reading behind the half hour in which its visit began.
  local kept, one = read[name], char(half_hour[name]) .. reading
  local at = find(kept, one, 1, true)
  while at and (at - 1) % READING ~= 0 do
    at = find(kept, one, at + 1, true)
  end
  if at then
    return false
  end
  if kept_readings >= most_readings then
    -- The day has too many: the visitor's oldest gives way, and without one this load counts, and is not known again.
    lost_readings = lost_readings + 1
    kept = sub(kept, READING + 1)
    one = #read[name] > 0 and one or ''
  elseif #kept >= MOST_READINGS * READING then
    kept = sub(kept, READING + 1)
  else
    kept_readings = kept_readings + 1
  end
  read[name] = kept .. one
  changed[name] = true
  return true
end

local function heartbeat(name, moment, old)
  -- Rule 4. A visit of yesterday that goes on over midnight: today's token takes its place (rule 2), without a visit of
  -- today until there is a hit (rule 3).
  local known = last[name]
  if known then
    if moment - known <= GAP and (moment > known or is_ahead(known)) then
      seen_at(name, moment)
    end
  elseif old and last[old] and moment - last[old] <= GAP and not is_full() then
    half_hour[name], read[name] = CARRIED, ''
    seen_at(name, moment)
    leave(old, moment)
  end
end

local duplicates, new_ids, readers = {}, {}, {}
local added, gains, total = {}, {}, 0
local NO, YES = char(0), char(1)
local every_load = #readings == 0
for i = 1, events do
  local name, moment, id, article = tokens[i], day_start + times[i], hit_ids[i], which[i]
  duplicates[i] = NO
  if article < 0 then
    heartbeat(name, moment, old_of[i])
  elseif id ~= '' and delivered[id] then
    duplicates[i] = YES
  else
    if id ~= '' then
      delivered[id] = true
      if kept_ids < most_ids then
        kept_ids = kept_ids + 1
        new_ids[#new_ids + 1] = id
      else
        lost_ids = lost_ids + 1 -- the beacon is not known again
      end
    end
    if last[name] and half_hour[name] ~= CARRIED and moment < day_start + half_hour[name] * HALF_HOUR - GAP
      and not is_ahead(last[name]) then
      -- A hit from before the visitor's present visit, applied late (from another host, or from a worker that hung): it
      -- belongs to an earlier visit, which is followed under a name of its own.
      name = name .. '<'
      if not last[name] then
        take_in(name, redis.call('HGET', KEYS[2], name))
      end
    end
    if not last[name] and is_full() then
      folded, name = folded + 1, CROWD
      if not last[name] then
        take_in(name, redis.call('HGET', KEYS[2], name))
      end
    end
    visit(name, moment, uniques[i])
    readers[#readers + 1] = uniques[i]
    if old_of[i] then
      leave(old_of[i], moment)
    end
    if every_load or is_new_reading(name, readings[i]) then
      local place = article + 1
      local counted = target[place]
      added[counted] = (added[counted] or 0) + 1
      gains[place] = (gains[place] or 0) + (counted == ids[place] and 1 or -1)
      total = total + 1
    end
  end
end

-- Read what only some batches need ---------------------------------------------------------------------------------------

if added[OTHER_ID] then
  local known = redis.call('HGET', KEYS[10], OTHER_ID)
  all[OTHER_ID] = known and number(known, KEYS[10]) or nil
  day[OTHER_ID] = number(redis.call('HGET', KEYS[11], OTHER_ID) or '0', KEYS[11])
end
local use_other = added[OTHER_ID] and not all[OTHER_ID]

-- Articles that are known from now on get the next numbers, by which history and lists call them. An article's number is
-- its first place: one that was forgotten and is read again may be written once more.
local numbered, touched = {}, {}
for i = 1, articles do
  local id = target[i]
  if added[id] and not all[id] then
    numbered[#numbered + 1] = id
    all[id] = 0
  elseif entry_of[i] and all[id] and id == ids[i] then
    touched[#touched + 1] = id
  end
end
local numbers = #numbered > 0 and redis.call('STRLEN', KEYS[18])
local touches = #touched > 0 and number(redis.call('HGET', KEYS[8], 'touched') or '0', KEYS[8])
if touches then
  redis.call('STRLEN', KEYS[19]) -- an error before anything is written, should it be something else
end

-- Which keys are made now, and are to end. Of most it is known by what was read of them.
local fresh_seen = next(changed) and visitors_before == 0
local fresh_ids = #new_ids > 0 and redis.call('SCARD', KEYS[4]) == 0
local fresh_sketches = next(new_uniques)
  and redis.call('EXISTS', unpack(KEYS, FIRST_SKETCH, FIRST_ANSWER - 1)) < SKETCHES
for note, n in pairs({['visitors-capped'] = folded, ['readings-capped'] = lost_readings, ['ids-capped'] = lost_ids}) do
  if n > 0 then
    local at = #ignored + 1
    for i = 1, #ignored do
      at = ignored[i][1] == note and i or at
    end
    ignored[at] = {note, n + (ignored[at] and ignored[at][2] or 0)}
  end
end
local fresh_claims = next(claims_of) and redis.call('EXISTS', KEYS[16]) == 0
local holds_more = kept_readings ~= readings_before or kept_ids ~= ids_before
local fresh_taken = not is_held and (next(new_places) or holds_more) and redis.call('EXISTS', KEYS[17]) == 0

-- What is raised: of each key the fields, with their values from now on.
local raised = {}
local function raise(key, fields, amounts)
  -- Returns whether none of the fields was there.
  local values, none = read_fields(key, fields), true
  for i = 1, #fields do
    none = none and values[i] == 0
    values[i] = values[i] + amounts[i]
  end
  raised[#raised + 1] = {key, fields, values}
  return none
end

local fresh_hours, fresh_readers

do
local hour, date, year, all_time = ARGV[8], sub(counters[1], 9), counters[3], counters[4]
if #readers > 0 then
  local years, days, hours, twice, once = {}, {}, {}, {}, {}
  for kind, n in pairs({visits = started, views = total, hits = #readers}) do
    if n > 0 then
      years[#years + 1], years[#years + 2] = kind .. ':' .. year, kind .. ':' .. all_time
      days[#days + 1], days[#days + 2] = kind .. ':' .. date, kind
      hours[#hours + 1] = kind .. ':' .. hour
      twice[#twice + 1], twice[#twice + 2] = n, n
      once[#once + 1] = n
    end
  end
  raise(KEYS[8], years, twice)
  raise(KEYS[9], days, twice)
  local none = raise(KEYS[14], hours, once)
  fresh_hours = none and redis.call('EXISTS', KEYS[14]) == 0
  -- The sketch of an hour is there as its counts are, until it is forgotten, when the day is over.
  local over = tonumber(ARGV[6]) - LEAST_LIFE >= day_end / 1000
  fresh_readers = (none or over) and redis.call('EXISTS', KEYS[20]) == 0
end
if #ignored > 0 then
  local days, hours, amounts = {}, {}, {}
  for i = 1, #ignored do
    days[i] = date .. ':' .. ignored[i][1]
    hours[i] = 'ignored:' .. hour .. ':' .. ignored[i][1]
    amounts[i] = ignored[i][2]
  end
  raise(KEYS[15], days, amounts)
  local none = raise(KEYS[14], hours, amounts)
  fresh_hours = fresh_hours or none and #readers == 0 and redis.call('EXISTS', KEYS[14]) == 0
end
end

local function expire(key, moment)
  -- When the key is made. A batch that is applied late makes keys that may be past their time already; they live on until
  -- its successors are applied.
  write('EXPIREAT', key, digits(math.max(floor(moment / 1000), tonumber(ARGV[6]))))
end

-- Write ------------------------------------------------------------------------------------------------------------------

-- The sketches first: they are the only keys of which nothing was read, and adding to them twice changes nothing.
for part, members in pairs(new_uniques) do
  local key = KEYS[FIRST_SKETCH + part]
  each_piece(members, function(...) write('PFADD', key, ...) end)
  if fresh_sketches then
    expire(key, day_end + UNIQUES_LIFE_MS)
  end
end
if #readers > 0 then
  each_piece(readers, function(...) write('PFADD', KEYS[20], ...) end)
  if fresh_readers then
    expire(KEYS[20], day_end + UNIQUES_LIFE_MS)
  end
end

do
  local today, before = {}, {}
  for name in pairs(changed) do
    local list, field = today, name
    if #name == 8 + #BEFORE then
      list, field = before, sub(name, 1 + #BEFORE)
    end
    list[#list + 1] = field
    list[#list + 1] = struct.pack('>I6B', last[name], half_hour[name]) .. read[name]
  end
  each_piece(today, function(...) write('HSET', KEYS[2], ...) end)
  each_piece(before, function(...) write('HSET', KEYS[3], ...) end)
  if fresh_seen and #today > 0 then
    expire(KEYS[2], day_end + DECIDING_MS)
  end
end

if #new_ids > 0 then
  each_piece(new_ids, function(...) write('SADD', KEYS[4], ...) end)
  if fresh_ids then
    expire(KEYS[4], day_start + times[1] + HALF_HOUR + DECIDING_MS)
  end
end

-- Rule 4: how many visitors were last seen in each second of a ring (core.counting.online_in). Of two seconds of the batch
-- that have one place in the ring the later one stays, in whichever order they come.
local places = {}
for second, change in pairs(moved) do
  local round, place = floor(second / RING), second % RING
  local cell = places[place]
  if not cell then
    cell = {0, 0}
    if #ring >= 4 * (RING + place + 1) then
      cell[1] = struct.unpack('<I4', ring, 4 * place + 1)
      cell[2] = struct.unpack('<I4', ring, 4 * (RING + place) + 1)
    end
    places[place] = cell
  end
  if cell[1] == round then
    cell[2], cell[3] = math.max(cell[2] + change, 0), true
  elseif change > 0 and (round > cell[1] or cell[1] * RING + place >= HORIZON) then
    write('SETRANGE', KEYS[7], 4 * place, struct.pack('<I4', round))
    cell[1], cell[2], cell[3] = round, change, true
  end
end
for place, cell in pairs(places) do
  if cell[3] then
    write('SETRANGE', KEYS[7], 4 * (RING + place), struct.pack('<I4', cell[2]))
  end
end

for _, each in ipairs(raised) do
  local key, fields, values = unpack(each)
  local both = {}
  for i = 1, #fields do
    both[2 * i - 1], both[2 * i] = fields[i], digits(values[i])
  end
  write('HSET', key, unpack(both))
end
if fresh_hours then
  expire(KEYS[14], day_end + HOURS_LIFE_MS)
end
if total > 0 then
  local every, today = {}, {}
  for article, n in pairs(added) do
    all[article] = (all[article] or 0) + n
    every[#every + 1] = article
    every[#every + 1] = digits(all[article])
    today[#today + 1] = article
    today[#today + 1] = digits((day[article] or 0) + n)
  end
  write('HSET', KEYS[10], unpack(every))
  write('HSET', KEYS[11], unpack(today))
end
if numbers then
  write('SETRANGE', KEYS[18], digits(numbers), table.concat(numbered))
end
if touches then
  touch(KEYS[8], KEYS[19], touches, touched)
end

do
  local names = {}
  for i = 1, articles do
    if entry_of[i] and target[i] == ids[i] and all[ids[i]] then
      names[#names + 1] = ids[i]
      names[#names + 1] = entry_of[i]
    end
  end
  if use_other then
    names[#names + 1] = OTHER_ID
    names[#names + 1] = OTHER_ENTRY
  end
  if #names > 0 then
    write('HSET', KEYS[12], unpack(names))
  end
end

do
  local claims, taken = {}, {}
  for i, packed in pairs(claims_of) do
    if all[ids[i]] then
      claims[#claims + 1] = ids[i]
      claims[#claims + 1] = packed
    end
  end
  for place, value in pairs(new_places) do
    taken[#taken + 1] = place
    taken[#taken + 1] = value
  end
  if holds_more then
    taken[#taken + 1] = HELD
    taken[#taken + 1] = struct.pack('>I4I4', kept_readings, kept_ids)
  end
  if #claims > 0 then
    write('HSET', KEYS[16], unpack(claims))
    if fresh_claims then
      expire(KEYS[16], day_end + CLAIMS_LIFE_MS)
    end
  end
  if #taken > 0 then
    each_piece(taken, function(...) write('HSET', KEYS[17], ...) end)
    if fresh_taken then
      expire(KEYS[17], day_end + DECIDING_MS)
    end
  end
end

written()
for i = 1, articles do
  states[i] = char(states[i])
end
return answer('ok', table.concat(duplicates), started, target, unknown, gains, table.concat(states),
  {folded, lost_readings, lost_ids})

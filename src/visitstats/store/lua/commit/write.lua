-- Last part of the commit (read.lua): reads that only some batches need, and the writes. All values are absolute.

-- Read what only some batches need ---------------------------------------------------------------------------------------

if added[OTHER_ID] then
  local known = redis.call('HGET', KEYS[10], OTHER_ID)
  all[OTHER_ID] = known and number(known, KEYS[10]) or nil
  day[OTHER_ID] = number(redis.call('HGET', KEYS[11], OTHER_ID) or '0', KEYS[11])
end
local use_other = added[OTHER_ID] and not all[OTHER_ID]

-- New articles get the next numbers, which history and lists use. An article's number is its first place in the list: an
-- article that was forgotten and is read again may be written once more.
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
  redis.call('STRLEN', KEYS[19]) -- fails here, before anything is written, if the key has another type
end

-- Find out which keys are made now, and so need an end of life. For most of them, what was read of them tells.
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

-- Counts that are raised: for each key, its fields and their new values.
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
  -- The sketch of an hour exists as long as its counts do, until it is deleted after the end of the day.
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
  -- Called when the key is made. A batch that is applied late may make keys that would expire at once; they live until the
  -- batches behind it are applied.
  write('EXPIREAT', key, digits(math.max(floor(moment / 1000), tonumber(ARGV[6]))))
end

-- Write ------------------------------------------------------------------------------------------------------------------

-- The sketches come first: they are the only keys that were not read before, so their type may be wrong, and adding to them
-- twice changes nothing.
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

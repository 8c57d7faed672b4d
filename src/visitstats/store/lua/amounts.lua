#!lua
-- Add amounts to counts, or take them back: what a person says was counted too little or too much. It stands behind record.lua.
--
-- Input
--   KEYS  1 to 4 what record.lua wants  5 aliases  6 articles  7 names  8 counts  9 numbers of articles  10 touched entries
--         11 amounts of articles  12 the layer's sums of years and of all time  13 closed periods; of the place, if it has a
--         month: 14 counts of the month and its days  15 the layer's sums of the same  16 articles of the day
--   ARGV  5 amounts   6 msgpack: id of the change, id of the change that it takes back or '', how many fields KEYS[2] had when
--         it was worked out, the record's head, the place (a date, a month, a year, or '' for no time), amounts of the site
--         [visits, views], of articles: their ids, amounts, dictionary entries (for one that is not known yet); what the record
--         says of each amount, the site's visits and views first, where they are not 0: [key or '' for the site, kind, amount,
--         what the place had or -1], to which what all of time had is added here; what else it says
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua. Refused are besides, but only when somebody else made a change since it was worked out: short (a
-- count would be below zero; `word` is which), closed (the place's month is)
--
-- A layer has sums of its own, under the names of the counts that they are a part of: counts without their layers are our own
-- counting. Amounts are added, so that they may be taken back in any order, whatever came in between. After a loss the count
-- that is lowered may come later, from another host; so nothing else is a reason to refuse. For the same reason one that was
-- taken back before it came is written down, and changes nothing.
--
-- `articles` among a layer's kinds is the part of its views that is in articles, too. `corrected` of the counts tells who
-- reads days of articles that a day has amounts: its sums may be what they were.

local id, undoes, seen, head, place, site, ids, amounts, entries, said, more = unpack(cmsgpack.unpack(ARGV[6]))
local ALIASES, ARTICLES, NAMES, COUNTS, NUMBERS, TOUCHED = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local AMOUNTS, LAYER, CLOSED, DAYS, LAYER_DAYS, DAY = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[16]
local year, month, date = sub(place, 1, 4), #place >= 7, #place == 10 and sub(place, 9)

-- Read -----------------------------------------------------------------------------------------------------------------

local seat, reason = seat_of(id, ids)
if not seat then
  return refuse(reason)
end
local others = seat.number > seen
local unmade = redis.call('HEXISTS', CHANGES, id .. ':undone') == 1
if undoes ~= '' then
  if redis.call('HEXISTS', CHANGES, undoes .. ':undone') == 1 then
    return refuse('undone')
  end
  unmade = redis.call('HEXISTS', CHANGES, undoes) == 0
end
if others and month and redis.call('HEXISTS', CLOSED, sub(place, 1, 7)) == 1 then
  return refuse('closed', sub(place, 1, 7))
end

local of_articles = 0
for i = 1, #amounts do
  of_articles = of_articles + amounts[i]
end

local raised = {}
local function raise(key, field, n)
  if n ~= 0 then
    local now = count(redis.call('HGET', key, field)) + n
    insert(raised, {key, field, digits(now)})
    return now
  end
end

local function raise_all(counts, days, kind, n)
  -- Where a place's counts are: the day, its month, its year, and all of time.
  local of_day = date and raise(days, kind .. ':' .. date, n)
  if month then
    raise(days, kind, n)
  end
  if place ~= '' then
    raise(counts, kind .. ':' .. year, n)
  end
  return raise(counts, kind .. ':all', n), of_day
end

local short
local told = 0
local function tell(before)
  told = told + 1
  said[told][5] = before
end

for i, kind in ipairs({'visits', 'views'}) do
  local n = site[i] + (i == 2 and of_articles or 0)
  local all, of_day = raise_all(COUNTS, DAYS, kind, n)
  local total = (all or 0) + count(redis.call('HGET', COUNTS, kind .. ':base'))
  if n ~= 0 and (total < 0 or of_day and of_day < 0) then
    short = kind
  end
  if site[i] ~= 0 then
    tell(total - n)
  end
  raise_all(LAYER, LAYER_DAYS, kind, n)
end
raise_all(LAYER, LAYER_DAYS, 'articles', of_articles)
if #ids > 0 and date then
  raise_all(COUNTS, DAYS, 'corrected', 1)
end

-- Articles: what was merged into another has its amounts there, and each on the way remembers what it would take along.
local ends, parts, days = {}, {}, {}
local new, known = {}, {}
if #ids > 0 then
  local found = date and redis.call('HMGET', DAY, unpack(ids)) or {}
  for i = 1, #ids do
    local article, steps = ids[i], 0
    while true do
      parts[article] = (parts[article] or count(redis.call('HGET', AMOUNTS, article))) + amounts[i]
      local edge = redis.call('HGET', ALIASES, article)
      steps = steps + 1
      if not edge or steps > 1000 then
        break
      end
      article = sub(edge, 1, 8)
    end
    local there = redis.call('HGET', ARTICLES, article)
    if not ends[article] then
      ends[article] = count(there)
      insert(there and known or new, article)
      if not there and article == ids[i] and redis.call('HEXISTS', NAMES, article) == 0 then
        entries[article] = entries[i]
      end
    end
    tell(ends[article])
    ends[article] = ends[article] + amounts[i]
    short = ends[article] < 0 and 'views' or short
    if date then
      days[ids[i]] = (days[ids[i]] or count(found[i])) + amounts[i]
    end
  end
end
local numbers = redis.call('STRLEN', NUMBERS)
local touches = count(redis.call('HGET', COUNTS, 'touched'))
redis.call('STRLEN', TOUCHED)
if short and others and not unmade then
  return refuse('short', short)
end

-- Write ----------------------------------------------------------------------------------------------------------------

if not unmade then
  for _, each in ipairs(raised) do
    write('HSET', unpack(each))
  end
  for article, n in pairs(ends) do
    write('HSET', ARTICLES, article, digits(n))
  end
  for article, n in pairs(parts) do
    write('HSET', AMOUNTS, article, digits(n))
  end
  for article, n in pairs(days) do
    if n == 0 then
      write('HDEL', DAY, article)
    else
      write('HSET', DAY, article, digits(n))
    end
  end
  for _, article in ipairs(new) do
    if entries[article] then
      write('HSET', NAMES, article, entries[article])
    end
  end
  if #new > 0 then
    write('SETRANGE', NUMBERS, digits(numbers), table.concat(new))
  end
  if #known > 0 then
    touch(COUNTS, TOUCHED, touches, known)
  end
end
local record = record_of(head, seat.number, {-1, -1}, {-1, -1}, {0, 0}, place, said, more)
write_down(seat, record, undoes)
written()
return {'ok', record}

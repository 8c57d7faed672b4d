-- Third part of the commit (read.lua): each event in its turn. It writes nothing.

-- Decide: each event in its turn -----------------------------------------------------------------------------------------

local changed, moved = {}, {}

-- A moment further ahead than the ring reaches was noted while a clock was wrong. It gives way to the present moment, or
-- this visitor would not be online again until then.
local HORIZON = tonumber(ARGV[6]) - LEAST_LIFE + RING - ONLINE / 1000
local function is_ahead(moment)
  return moment / 1000 >= HORIZON
end

local function seen_at(name, moment)
  -- Note when a visitor was last seen: move it from one second of the ring to another.
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
  -- Rule 2: a visitor with a token of today is not online under yesterday's. The old presence stays, for late hits of
  -- yesterday.
  local left = moment - ONLINE - 1000
  if last[name] and left < last[name] then
    seen_at(name, left)
  end
end

local started, new_uniques = 0, {}
local folded, lost_readings, lost_ids = 0, 0, 0
local most_readings, most_ids = READINGS_A_VISITOR * most_visitors, IDS_A_VISITOR * most_visitors
local function is_full()
  -- Whether the day already has its most visitors, so that a new one is not told apart; if not, takes a place.
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
  -- Rule 5. Each reading stands behind the half hour in which its visit began.
  local kept, one = read[name], char(half_hour[name]) .. reading
  local at = find(kept, one, 1, true)
  while at and (at - 1) % READING ~= 0 do
    at = find(kept, one, at + 1, true)
  end
  if at then
    return false
  end
  if kept_readings >= most_readings then
    -- The day already has its most readings: the visitor's oldest one gives way. A visitor without any gets none: this load
    -- counts, and so will the next one.
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
        lost_ids = lost_ids + 1 -- a second delivery of this beacon will count again
      end
    end
    if last[name] and half_hour[name] ~= CARRIED and moment < day_start + half_hour[name] * HALF_HOUR - GAP
      and not is_ahead(last[name]) then
      -- A hit from before the visitor's present visit, which is applied late (from another host, or from a worker that hung),
      -- belongs to an earlier visit, which gets a name of its own.
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

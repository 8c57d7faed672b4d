-- Second part of the commit (read.lua): which article a view of each counts for, and what the articles are called.

-- Articles: which one a view of each counts for ---------------------------------------------------------------------------

-- For each article: its core.batch.State, the id for which its views count, and whether its name is not known yet.
local states, target, unknown, new_places = {}, {}, {}, {}
do -- a script has 200 local variables at most
local is_read, enter, registered, is_full

local function read_places()
  -- Find out which articles have a hit that was not delivered before, and which places the networks that bring new articles
  -- have taken.
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
        -- This also holds for an article without an entry: its worker did not know that it had given its place back
        -- (prune.lua).
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
      -- Without room for more claims, the entry stays as it is.
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

-- Decides which new articles get a place, that is counts of their own (the numbers are those of core/limits.py). It stands
-- before commit/, and touches no key.
--
-- One network may bring only so many new articles in an hour, and the last places of a large site are kept for articles that
-- two networks read, that the portal has signed, or that a network of the site's own reads. Any other new article, and each
-- one beyond the site's cap, is counted as "(other)" and leaves no trace of its own (hostile-inputs row 13).

local SETTLED, OPEN, NO_PLACE, RESERVED = 0, 1, 2, 3 -- core.batch.State

local function placing(ids, saying, times, cap, taken, new_taken)
  -- `saying`: for each article, what beacons say about it. `taken`: how many of the day's places are taken, by field. The
  -- caller fills it in after it has called `fields`; what `enter` takes is noted in it and in `new_taken`.
  -- Returns the functions `fields` (the fields of `taken` that matter to these articles) and `enter` (whether an article of
  -- the batch may have a place: SETTLED, or the state that says why not).
  local NOBODY = string.rep('?', 1 + VOICE) -- stands for the network of a beacon that says nothing about its article

  local function bringers(i)
    return saying[i] or {{0, 0, STRANGER, NOBODY}}
  end

  local function is_trusted(claim)
    return claim[3] ~= STRANGER or claim[4] == ''
  end

  local function shared(field)
    -- Networks for which there is no row left share one.
    return sub(NOBODY, 2) .. sub(field, -1)
  end

  local function field_of(claim)
    local event = claim[2] + 1
    return sub(claim[4], 2) .. char(floor((times[event] or 0) / 3600000) % 256)
  end

  local function fields(fresh)
    local asked = {}
    for _, i in ipairs(fresh) do
      asked[#asked + 1] = ids[i]
      for _, claim in ipairs(bringers(i)) do
        local field = field_of(claim)
        asked[#asked + 1] = field
        asked[#asked + 1] = shared(field)
      end
    end
    return asked
  end

  local function is_vouched(i, is_full)
    for _, claim in ipairs(bringers(i)) do
      if is_trusted(claim) then
        return true
      end
      local voice, knocked = sub(claim[4], 2), taken[ids[i]]
      if knocked and knocked ~= voice then
        return true
      elseif not knocked and not is_full then
        taken[ids[i]], new_taken[ids[i]] = voice, voice
      end
    end
    return false
  end

  local function enter(i, registered, is_full)
    -- `registered`: how many articles the site has. `is_full`: whether the day has room for no more fields.
    if registered >= cap then
      return nil
    elseif cap >= RESERVE_FROM and registered >= cap - floor(cap / RESERVE_SHARE) and not is_vouched(i, is_full) then
      return RESERVED
    end
    for _, claim in ipairs(bringers(i)) do
      if is_trusted(claim) then
        return SETTLED
      end
      local field = field_of(claim)
      if is_full and not taken[field] then
        field = shared(field)
      end
      local n = tonumber(taken[field] or '0') or error('a count of taken places is no number')
      if n < PLACES_AN_HOUR then
        taken[field] = digits(n + 1)
        new_taken[field] = taken[field]
        return SETTLED
      end
    end
    return NO_PLACE
  end

  return fields, enter
end


-- Places for new articles: which of them get counts of their own (the numbers are those of core/limits.py). It stands
-- before commit/, and touches no key.
--
-- An article that is new takes a place. Those of one network in an hour are limited, and the last places of a large site are
-- kept for articles that two networks read, that the portal has signed, or that a network of the site's own reads. Beyond
-- that, and beyond the site's cap, an article is counted as "(other)" and leaves no trace of its own (hostile-inputs row 13).

local SETTLED, OPEN, NO_PLACE, RESERVED = 0, 1, 2, 3 -- core.batch.State

local function placing(ids, saying, times, cap, taken, new_taken)
  -- `saying`: of each article what beacons say of it. `taken`: what of the day's places is taken, by field; it is filled in
  -- after `fields` was asked, and what `enter` takes is noted in it and in `new_taken`.
  -- Returns the functions `fields` (what of `taken` matters to these articles) and `enter` (whether the article in a place
  -- of the batch may have a place of its own: SETTLED, or the state that says why not).
  local NOBODY = string.rep('?', 1 + VOICE) -- who brings an article without saying anything of it

  local function bringers(i)
    return saying[i] or {{0, 0, STRANGER, NOBODY}}
  end

  local function is_trusted(claim)
    return claim[3] ~= STRANGER or claim[4] == ''
  end

  local function shared(field)
    -- Those for whom there is no row share one.
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


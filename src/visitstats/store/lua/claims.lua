-- Weighs what readers' beacons say about articles against what is known of them, by the rules and numbers of
-- core/entries.py. It stands before commit/, change.lua and facts.lua, and touches no key.
--
-- The functions are made only for a batch that says something new about an article; most batches do not.
--
-- An entry is {key, title, url, author, category, published, standings, origin}; a claim of a day {fact, value, second,
-- voices}, its value empty for what the entry says.

local STRANGER, TRUSTED, SIGNED = 0, 1, 2 -- who says something: core.batch.Said
local FACTS = 5
local VOICE = 4

local function weighing()
  local function table_of(stored)
    local whole, found = pcall(cmsgpack.unpack, stored or '')
    return whole and type(found) == 'table' and found or nil
  end

  -- The address is what its key says: empty in an entry, whose letter says that it was said.
  local URL, AS_KEY = 2, '='

  local function fact_of(entry, fact)
    local value, letters = entry[fact + 1], entry[7]
    if value == '' and fact == URL and letters and find(letters, '^.[^-]') then
      return AS_KEY
    end
    return type(value) == 'string' and value or ''
  end

  local function standing_of(entry, fact)
    if fact_of(entry, fact) == '' then
      return '-'
    end
    local letter = sub(entry[7], fact, fact)
    return letter == '' and 'i' or letter
  end

  local function known_entry(stored)
    -- A stored entry in its full form; nil for one that is missing or damaged.
    local entry = table_of(stored)
    if not entry or type(entry[1]) ~= 'string' then
      return nil
    end
    entry[7] = type(entry[7]) == 'string' and entry[7] or ''
    for fact = 1, FACTS do
      entry[fact + 1] = type(entry[fact + 1]) == 'string' and entry[fact + 1] or ''
    end
    entry[8] = type(entry[8]) == 'number' and entry[8] or 0
    return entry
  end

  local function known_claims(stored)
    -- The stored claims of an article; what of them is damaged is left out.
    local found, claims = table_of(stored) or {}, {}
    for n = 1, #found do
      local claim = found[n]
      if type(claim) == 'table' and type(claim[1]) == 'number' and type(claim[2]) == 'string'
        and type(claim[3]) == 'number' and type(claim[4]) == 'string' then
        claims[#claims + 1] = claim
      end
    end
    return claims
  end

  local function set_fact(entry, fact, value, standing)
    local letters = {}
    for n = 1, FACTS do
      letters[n] = n == fact and standing or standing_of(entry, n)
    end
    entry[fact + 1], entry[7] = fact == URL and value == AS_KEY and '' or value, table.concat(letters)
  end

  local function first_entry(new, how, network, day, is_new)
    -- Return the entry that the first claim makes. An article that was there before keeps its place, so its origin is 0.
    local entry = {new[1], '', '', '', '', '', '-----', 0}
    for fact = 1, FACTS do
      if fact_of(new, fact) ~= '' then
        set_fact(entry, fact, fact_of(new, fact), how == SIGNED and 's' or 'p')
      end
    end
    if is_new and how ~= SIGNED and network ~= '' then
      entry[8] = (how == TRUSTED and 0 or day * 256) + byte(network, 1)
    end
    return entry
  end

  local function position(voices, voice)
    for at = 1, #voices, VOICE do
      if sub(voices, at, at + VOICE - 1) == voice then
        return at
      end
    end
  end

  local function make_room(list, bytes)
    -- Make room for one more claim: claims of a single network give way, the oldest first. Return whether there is room.
    local size = bytes
    for n = 1, #list do
      size = size + #list[n][2] + #list[n][4] + 8
    end
    while #list >= MOST_CLAIMS or size > MOST_CLAIM_BYTES do
      local weak
      for n = 1, #list do
        if not weak and #list[n][4] <= VOICE and list[n][2] ~= '' then
          weak = n
        end
      end
      if not weak then
        return false
      end
      size = size - #list[weak][2] - #list[weak][4] - 8
      table.remove(list, weak)
    end
    return true
  end

  local function claim_of(list, fact, value)
    for n = 1, #list do
      if list[n][1] == fact and list[n][2] == value then
        return list[n]
      end
    end
  end

  local function has_rivals(list, fact)
    for n = 1, #list do
      if list[n][1] == (fact or list[n][1]) and list[n][2] ~= '' then
        return true
      end
    end
    return false
  end

  local function speak(list, fact, value, voice, second)
    -- Note what a network says of a fact, in the place of what it said before; returns the claim, if there is room for it.
    for n = #list, 1, -1 do
      local other = list[n]
      local at = other[1] == fact and other[2] ~= value and position(other[4], voice)
      if at then
        other[4] = sub(other[4], 1, at - 1) .. sub(other[4], at + VOICE)
        if other[4] == '' then
          table.remove(list, n)
        end
      end
    end
    local claim = claim_of(list, fact, value)
    if not claim then
      if not make_room(list, #value + VOICE + 8) then
        return nil
      end
      claim = {fact, value, second, ''}
      insert(list, claim)
    end
    if not position(claim[4], voice) and #claim[4] < VOICE * MOST_VOICES then
      claim[4] = claim[4] .. voice
    end
    return claim
  end

  local function voices_of(claim)
    return claim and #claim[4] / VOICE or 0
  end

  local function take(entry, list, fact, claim, standing)
    -- Swap a claim with the entry: the entry takes its value, and the entry's old value becomes a claim.
    local before, value = claim_of(list, fact, ''), claim[2]
    if before then
      before[2] = fact_of(entry, fact)
    end
    claim[2] = ''
    set_fact(entry, fact, value, standing)
  end

  local function is_agreed(claim, second)
    return voices_of(claim) >= AGREEING and second - claim[3] >= AGREEING_S
  end

  local function weigh_fact(entry, list, fact, value, network, second)
    -- Weigh what one network says of a fact that is known. Returns whether the entry changed.
    local now, standing, voice = fact_of(entry, fact), standing_of(entry, fact), sub(network, 2)
    if value == now then
      if standing ~= 'p' and not has_rivals(list, fact) then
        return false
      end
      local claim = speak(list, fact, '', voice, second)
      if standing == 'p' and claim and is_agreed(claim, second) then
        set_fact(entry, fact, now, 'a')
        return true
      end
      return false
    end
    local claim = speak(list, fact, value, voice, second)
    if not claim then
      return false
    end
    local voices, against = voices_of(claim), voices_of(claim_of(list, fact, ''))
    if standing == 'p' then
      local origin = entry[8]
      if voices > math.max(against, 1) or origin ~= 0 and origin % 256 == byte(network, 1) then
        take(entry, list, fact, claim, is_agreed(claim, second) and 'a' or 'p')
        return true
      end
    elseif standing == 'a' and voices >= CHANGING and voices > against and second - claim[3] >= CHANGING_S then
      take(entry, list, fact, claim, 'a')
      return true
    end
    return false
  end

  local function weigh(entry, list, new, how, network, second)
    -- Weigh what one beacon says of an article that has an entry. Returns whether the entry changed, and whether the claims
    -- may have changed.
    local changed, spoken = false, false
    local origin = entry[8]
    if origin ~= 0 and (how == SIGNED or network ~= '' and origin % 256 ~= byte(network, 1)) then
      entry[8], changed = 0, true
    end
    for fact = 1, FACTS do
      local value, standing = fact_of(new, fact), standing_of(entry, fact)
      if value == '' then
        -- A fact that a beacon does not give (a picture has no title) stays as it is.
      elseif how == SIGNED then
        if standing ~= 'e' and (standing ~= 's' or value ~= fact_of(entry, fact)) then
          set_fact(entry, fact, value, 's')
          changed = true
        end
      elseif standing == '-' then
        set_fact(entry, fact, value, 'p')
        changed = true
      elseif network ~= '' then
        changed = weigh_fact(entry, list, fact, value, network, second) or changed
        spoken = true
      end
    end
    return changed, spoken
  end

  local function is_open(entry, list)
    -- Whether it matters what further networks say.
    if entry[8] ~= 0 or has_rivals(list) then
      return true
    end
    for fact = 1, FACTS do
      if standing_of(entry, fact) == 'p' then
        return true
      end
    end
    return false
  end

  local function packed_entry(entry)
    -- Each beacon's texts fit; those of several may be too long together.
    local size = #entry[1]
    for fact = 1, FACTS do
      size = size + #fact_of(entry, fact)
    end
    if size > MOST_ENTRY_TEXT then
      set_fact(entry, 2, '', '-')
    end
    return cmsgpack.pack(entry)
  end

  return known_entry, known_claims, first_entry, weigh, is_open, packed_entry, fact_of, standing_of, set_fact
end

#!lua
-- Make one change of a person's: merge two articles, undo that, or set baselines. It stands behind record.lua and
-- claims.lua.
--
-- Input
--   KEYS  1 to 4 what record.lua wants  5 aliases  6 articles  7 baselines  8 names  9 counts  10 numbers of articles
--         11 touched entries  12 amounts of articles
--   ARGV  5 merge, undo or baseline   6 msgpack of what this kind wants, see below
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua; for a baseline, `record` is ''. It is also refused:
--   Merge: alias (one of the two is one by now), too-many. Undo: unknown, later (the target was merged itself), moved (the
--   alias is another one), short (the target has less in the list `word` than is to be given back). Baseline: moved
--   (somebody merged since it was worked out), short (amounts take more from the site's total than would be left)
--
-- A merge moves the views of all time and the baseline. Views per day stay with each article; readers of days add those of
-- an alias to those of its article. A merge is not refused because an article has no views (that is checked before it is
-- journalled): after a loss the hits that made the article known may be applied later, from another host, and the merge must
-- not be lost then.
--
-- The amounts of an article (amounts.lua) are a part of its views. An undo gives back what was counted before the merge, and
-- the amounts that are in force now, because some may have been made or taken back in between.

local ALIASES, ARTICLES, BASES, NAMES, COUNTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local NUMBERS, TOUCHED, AMOUNTS = KEYS[10], KEYS[11], KEYS[12]

-- Of two articles: views of all time and baseline, -1 for none; amounts.
local function both(from, into)
  local views, bases = redis.call('HMGET', ARTICLES, from, into), redis.call('HMGET', BASES, from, into)
  local amounts = redis.call('HMGET', AMOUNTS, from, into)
  return {tonumber(views[1] or '-1'), tonumber(views[2] or '-1')}, {tonumber(bases[1] or '-1'), tonumber(bases[2] or '-1')},
    {count(amounts[1]), count(amounts[2])}
end

-- Return how many entries were touched so far, and the length of the list of numbers.
local function places()
  redis.call('STRLEN', TOUCHED)
  return {count(redis.call('HGET', COUNTS, 'touched')), redis.call('STRLEN', NUMBERS)}
end

local function note(before, known, ids)
  -- `known`: of each of the ids, whether the site had the article. Those that it had not get numbers (commit/write.lua), the
  -- others are noted as touched.
  local numbered, touched = {}, {}
  for i = 1, #ids do
    insert(known[i] and touched or numbered, ids[i])
  end
  if #numbered > 0 then
    write('SETRANGE', NUMBERS, digits(before[2]), table.concat(numbered))
  end
  touch(COUNTS, TOUCHED, before[1], touched)
end

local function merge(id, from, into, into_key, head, entry, most)
  -- id of the change, ids of the articles, the second one's key, the record's head, the second one's dictionary entry (for
  -- one that is not known yet), the most aliases.
  local edges = redis.call('HMGET', ALIASES, from, into)
  local aliases = redis.call('HLEN', ALIASES)
  local views, bases, amounts = both(from, into)
  local named = redis.call('HEXISTS', NAMES, into)
  local before = places()
  local seat, reason = seat_of(id, {from, into})
  if not seat then
    return refuse(reason)
  elseif edges[1] or edges[2] then
    return refuse('alias')
  elseif aliases >= most then
    return refuse('too-many')
  end
  local record = record_of(head, seat.number, views, bases, amounts)
  if views[1] >= 0 then
    write('HSET', ARTICLES, into, digits(math.max(views[2], 0) + views[1]))
    write('HDEL', ARTICLES, from)
    if named == 0 then
      write('HSET', NAMES, into, entry)
    end
  end
  if bases[1] >= 0 then
    write('HSET', BASES, into, digits(math.max(bases[2], 0) + bases[1]))
    write('HDEL', BASES, from)
  end
  if views[1] >= 0 then
    note(before, {true, views[2] >= 0}, {from, into})
  end
  if amounts[1] ~= 0 then
    write('HSET', AMOUNTS, into, digits(amounts[2] + amounts[1]))
  end
  write('HSET', ALIASES, from, into .. into_key)
  write_down(seat, record)
  written()
  return {'ok', record}
end

local function undo(id, merged, from, into, head)
  -- ids of this change and of the merge, ids of the articles, the record's head.
  local kept = redis.call('HMGET', CHANGES, merged, merged .. ':undone')
  local edges = redis.call('HMGET', ALIASES, from, into)
  local views, bases, amounts = both(from, into)
  local before = places()
  local seat, reason = seat_of(id, {from, into})
  if not seat then
    return refuse(reason)
  elseif not kept[1] then
    return refuse('unknown')
  elseif kept[2] then
    return refuse('undone')
  elseif edges[2] then
    return refuse('later')
  elseif not edges[1] or sub(edges[1], 1, 8) ~= into then
    return refuse('moved')
  end
  local made = cmsgpack.unpack(kept[1])
  local had, had_bases, had_amounts = made[#head + 2], made[#head + 3], made[#head + 4] or {0, 0}
  if had[1] >= 0 or amounts[1] ~= had_amounts[1] then
    had[1] = math.max(had[1], 0) - had_amounts[1] + amounts[1]
  end
  local back, base_back = math.max(had[1], 0), math.max(had_bases[1], 0)
  if math.max(views[2], 0) < back then
    return refuse('short', 'views')
  elseif math.max(bases[2], 0) < base_back then
    return refuse('short', 'baselines')
  end
  local record = record_of(head, seat.number, views, bases, amounts)
  if had[1] >= 0 then
    write('HSET', ARTICLES, from, digits(math.max(views[1], 0) + back))
    -- An article that the site did not have before the merge is removed again, unless it was read since.
    if had[2] < 0 and views[2] == back then
      write('HDEL', ARTICLES, into)
    else
      write('HSET', ARTICLES, into, digits(math.max(views[2], 0) - back))
    end
  end
  if had_bases[1] >= 0 then
    write('HSET', BASES, from, digits(base_back))
    if had_bases[2] < 0 and bases[2] == base_back then
      write('HDEL', BASES, into)
    else
      write('HSET', BASES, into, digits(math.max(bases[2], 0) - base_back))
    end
  end
  if had[1] >= 0 then
    note(before, {true, true}, {from, into})
  end
  if amounts[1] ~= 0 then
    write('HSET', AMOUNTS, into, digits(amounts[2] - amounts[1]))
  end
  write('HDEL', ALIASES, from)
  write_down(seat, record, merged)
  written()
  return {'ok', record}
end

local function with_pinned(stored, entry)
  -- Return the new entry of an article that has one already, with the facts that an editor has set.
  local known_entry, _, _, _, _, packed_entry, fact_of, standing_of, set_fact = weighing()
  local old, new = known_entry(stored), known_entry(entry)
  if not old then
    return entry
  end
  local kept = old[10] == true or (old[9] or '') ~= ''
  for fact = 1, FACTS do
    if standing_of(old, fact) == 'e' then
      set_fact(new, fact, fact_of(old, fact), 'e')
      kept = true
    end
  end
  if (new[9] or '') == '' then
    new[9] = old[9] or ''
  end
  new[10] = old[10] == true or new[10] == true
  return kept and packed_entry(new) or entry
end

local function baseline(changes, site_total, name, ids, totals, entries)
  -- How many fields CHANGES had when aliases were looked up; the site's baseline (-1 to leave it) and its name among the
  -- counts; article ids, their baselines, their dictionary entries ('' to keep the present one).
  if redis.call('HLEN', CHANGES) ~= changes then
    return refuse('moved')
  end
  local views, bases, names, known = {}, {}, {}, {}
  local total = count(redis.call('HGET', COUNTS, 'views:' .. name))
  local before = places()
  redis.call('HLEN', NAMES)
  if site_total >= 0 and count(redis.call('HGET', COUNTS, 'visits:all')) + site_total < 0 then
    return refuse('short', 'visits')
  end
  if #ids > 0 then
    local shown, had = redis.call('HMGET', ARTICLES, unpack(ids)), redis.call('HMGET', BASES, unpack(ids))
    for i = 1, #ids do
      if count(shown[i]) - count(had[i]) + totals[i] < 0 then
        return refuse('short', 'views')
      end
    end
    for i = 1, #ids do
      local old = count(had[i])
      total = total + totals[i] - old
      known[i] = shown[i] and true or false
      insert(views, ids[i])
      insert(views, digits(count(shown[i]) - old + totals[i]))
      insert(bases, ids[i])
      insert(bases, digits(totals[i]))
      if entries[i] ~= '' then
        insert(names, ids[i])
        insert(names, with_pinned(redis.call('HGET', NAMES, ids[i]), entries[i]))
      end
    end
    note(before, known, ids)
    write('HSET', ARTICLES, unpack(views))
    write('HSET', BASES, unpack(bases))
    if #names > 0 then
      write('HSET', NAMES, unpack(names))
    end
    write('HSET', COUNTS, 'views:' .. name, digits(total))
  end
  if site_total >= 0 then
    write('HSET', COUNTS, 'visits:' .. name, digits(site_total))
  end
  written()
  return {'ok', ''}
end

return ({merge = merge, undo = undo, baseline = baseline})[ARGV[5]](unpack(cmsgpack.unpack(ARGV[6])))

#!lua
-- Let pages that only one network ever read give their places back: their views, of all time and of each of their days, go
-- to "(other)". Or undo that.
--
-- It stands behind record.lua.
--
-- Input
--   KEYS  1 to 4 what record.lua wants  5 articles  6 baselines  7 names  8 counts  9 numbers of articles
--         10 touched entries  11 amounts of articles  12 packed months  13 closed months  14 the pages of this change as
--         they were  15… articles of each date
--   ARGV  5 prune or restore   6 msgpack of what this kind wants, see below
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua. It is also refused: moved (a change was made since it was worked out),
--   unknown, fixed (one of the dates is packed or closed), short ("(other)" has less than is to be given back)
--
-- A change has as many records as it needs. Each checks its pages again: a page that another network has read since, or
-- whose views have changed, keeps its place. The decision depends on the ledger alone, so that a replay decides the same.

local ARTICLES, BASES, NAMES, COUNTS, NUMBERS, TOUCHED = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local AMOUNTS, PACKED, CLOSED, PAGES, FIRST_DATE = KEYS[11], KEYS[12], KEYS[13], KEYS[14], 14

local function is_fixed(dates)
  for n = 1, #dates do
    local month = sub(dates[n], 1, 7)
    if redis.call('HEXISTS', PACKED, month) == 1 or redis.call('HEXISTS', CLOSED, month) == 1 then
      return true
    end
  end
  return false
end

local function change_of(head, stored, number, views, pages)
  -- store.changes.Change: what "(other)" got by the change, and of how many pages, its earlier records included.
  local record = {unpack(head)}
  if stored then
    local before = cmsgpack.unpack(stored)
    number, views, pages = before[#head + 1], before[#head + 2][1] + views, before[#head + 3][1] + pages
  end
  record[#record + 1] = number
  record[#record + 1] = {views, -1}
  record[#record + 1] = {pages, -1}
  return cmsgpack.pack(record)
end

local function is_lone(stored, newest)
  -- Whether only one network has read a page, first on a day up to `newest` (core.entries.Entry.origin), and no import,
  -- signature or editor has said anything about it.
  local whole, entry = pcall(cmsgpack.unpack, stored)
  local origin = whole and type(entry) == 'table' and entry[8]
  return type(origin) == 'number' and origin >= 256 and floor(origin / 256) <= newest
    and not find(tostring(entry[7]), '[ise]')
end

local function set(key, list)
  if #list > 0 then
    write('HSET', key, unpack(list))
  end
end

local function settled(stored)
  -- Return the entry of a page to which a person has given its place back: nothing takes the place again.
  local entry = cmsgpack.unpack(stored)
  entry[8] = 0
  return cmsgpack.pack(entry)
end

local function settle(views, moved, pruned)
  -- Write the new views of "(other)", of all time and of each date.
  local other = redis.call('HGET', ARTICLES, OTHER_ID)
  local numbers = not other and redis.call('STRLEN', NUMBERS)
  local days = {}
  for n, change in pairs(moved) do
    days[n] = count(redis.call('HGET', KEYS[FIRST_DATE + n], OTHER_ID)) + change
  end
  local all = count(redis.call('HGET', COUNTS, 'pruned'))
  write('HSET', ARTICLES, OTHER_ID, digits(count(other) + views))
  if not other then
    write('HSET', NAMES, OTHER_ID, OTHER_ENTRY)
    write('SETRANGE', NUMBERS, digits(numbers), OTHER_ID)
  end
  for n, value in pairs(days) do
    if value > 0 then
      write('HSET', KEYS[FIRST_DATE + n], OTHER_ID, digits(value))
    else
      write('HDEL', KEYS[FIRST_DATE + n], OTHER_ID)
    end
  end
  write('HSET', COUNTS, 'pruned', digits(all + pruned))
end

local function prune(id, _, dates, head, changes, newest, expires, pages)
  -- id of the change, nothing, the dates, the record's head, how many fields CHANGES had when this was worked out, the last day
  -- (since the epoch) on which a page may have been read first, when PAGES ends, the pages: {id, {place of a date,
  -- views, …}}
  local kept = redis.call('HMGET', CHANGES, id, id .. ':undone')
  local many = redis.call('HLEN', CHANGES)
  local mine = kept[1] and redis.call('EXISTS', PAGES) == 1
  local seat, reason = nil, nil
  if not mine then
    seat, reason = seat_of(id, {})
  end
  if reason then
    return refuse(reason)
  elseif kept[2] then
    return refuse('undone')
  elseif many ~= changes + (mine and 1 or 0) then
    return refuse('moved')
  end
  if is_fixed(dates) then
    return refuse('fixed')
  end
  local ids, before = {}, count(redis.call('HGET', COUNTS, 'touched'))
  for i = 1, #pages do
    ids[i] = pages[i][1]
  end
  redis.call('STRLEN', TOUCHED)
  local views, bases = redis.call('HMGET', ARTICLES, unpack(ids)), redis.call('HMGET', BASES, unpack(ids))
  local amounts = redis.call('HMGET', AMOUNTS, unpack(ids))
  local names, found = redis.call('HMGET', NAMES, unpack(ids)), {}
  for n = 1, #dates do
    found[n] = redis.call('HMGET', KEYS[FIRST_DATE + n], unpack(ids))
  end
  local gone, gone_on, saved, moved, seen, total = {}, {}, {}, {}, {}, 0
  for i = 1, #pages do
    local days, sum, right = pages[i][2], 0, views[i] and not bases[i] and not amounts[i] and names[i] and not seen[ids[i]] and is_lone(names[i], newest)
    seen[ids[i]] = true
    for n = 1, right and #days or 0, 2 do
      right = right and count(found[days[n]][i]) == days[n + 1]
      sum = sum + days[n + 1]
    end
    if right and sum == count(views[i]) then
      local was = {}
      for n = 1, #days, 2 do
        local place, read = days[n], days[n + 1]
        gone_on[place] = gone_on[place] or {}
        insert(gone_on[place], ids[i])
        moved[place] = (moved[place] or 0) + read
        was[n], was[n + 1] = dates[place], read
      end
      total = total + sum
      gone[#gone + 1] = ids[i]
      saved[#saved + 1], saved[#saved + 2] = ids[i], cmsgpack.pack({names[i], was})
    end
  end
  local record = change_of(head, mine and kept[1], many, total, #gone)
  if #gone > 0 then
    settle(total, moved, #gone)
    write('HDEL', ARTICLES, unpack(gone))
    write('HDEL', NAMES, unpack(gone))
    for n, list in pairs(gone_on) do
      write('HDEL', KEYS[FIRST_DATE + n], unpack(list))
    end
    set(PAGES, saved)
    if not mine then
      write('EXPIREAT', PAGES, digits(expires))
    end
    gone[#gone + 1] = OTHER_ID
    touch(COUNTS, TOUCHED, before, gone)
    if seat then
      write_down(seat, record)
    else
      write('HSET', CHANGES, id, record)
    end
  end
  written()
  return {'ok', record}
end

local function restore(id, undone, dates, head, ids)
  -- ids of this change and of the one that it undoes, the dates of these pages, the record's head, the pages (ids)
  local kept = redis.call('HMGET', CHANGES, id, undone, undone .. ':undone')
  local many = redis.call('HLEN', CHANGES)
  if not kept[2] then
    return refuse('unknown')
  elseif kept[3] and kept[3] ~= id then
    return refuse('undone')
  end
  local seat, reason = nil, nil
  if kept[3] ~= id then
    seat, reason = seat_of(id, {})
  end
  if reason then
    return refuse(reason)
  end
  local place_of = {}
  for n = 1, #dates do
    place_of[dates[n]] = n
  end
  if is_fixed(dates) then
    return refuse('fixed')
  end
  local before = count(redis.call('HGET', COUNTS, 'touched'))
  redis.call('STRLEN', TOUCHED)
  local saved, views = redis.call('HMGET', PAGES, unpack(ids)), redis.call('HMGET', ARTICLES, unpack(ids))
  local names, numbers = redis.call('HMGET', NAMES, unpack(ids)), redis.call('STRLEN', NUMBERS)
  local all, entries, back, on, moved, total = {}, {}, {}, {}, {}, 0
  for i = 1, #ids do
    if saved[i] then
      local entry, days = unpack(cmsgpack.unpack(saved[i]))
      local sum = 0
      for n = 1, #days, 2 do
        local place, read = place_of[days[n]], days[n + 1]
        on[place] = on[place] or {}
        insert(on[place], ids[i])
        insert(on[place], digits(count(redis.call('HGET', KEYS[FIRST_DATE + place], ids[i])) + read))
        moved[place] = (moved[place] or 0) - read
        sum = sum + read
      end
      total = total + sum
      back[#back + 1] = ids[i]
      insert(all, ids[i])
      insert(all, digits(count(views[i]) + sum))
      if not names[i] then
        insert(entries, ids[i])
        insert(entries, settled(entry))
      end
    end
  end
  if count(redis.call('HGET', ARTICLES, OTHER_ID)) < total then
    return refuse('short')
  end
  for place, change in pairs(moved) do
    if count(redis.call('HGET', KEYS[FIRST_DATE + place], OTHER_ID)) + change < 0 then
      return refuse('short')
    end
  end
  local record = change_of(head, kept[1], many, total, #back)
  if #back > 0 then
    settle(-total, moved, #back)
    set(ARTICLES, all)
    set(NAMES, entries)
    for n, list in pairs(on) do
      set(KEYS[FIRST_DATE + n], list)
    end
    write('HDEL', PAGES, unpack(back))
    back[#back + 1] = OTHER_ID
    touch(COUNTS, TOUCHED, before, back)
  end
  if seat then
    write_down(seat, record, undone)
  else
    write('HSET', CHANGES, id, record)
  end
  written()
  return {'ok', record}
end

return ({prune = prune, restore = restore})[ARGV[5]](unpack(cmsgpack.unpack(ARGV[6])))

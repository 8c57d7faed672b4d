#!lua
-- Add amounts to counts, or take them back: what a person says was counted too little or too much. It stands
-- behind record.lua and layers.lua.
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
-- Output: that of record.lua. It is also refused, but only when another change was made since it was worked out: short (a
-- count would be below zero; `word` is which), closed (the place's month is closed)
--
-- After a loss the hits that a change lowers may be applied after it, from another host; so nothing else is a reason to refuse.
-- For the same reason the record of an amount whose undo was applied before it is written down without any effect.

local id, undoes, seen, head, place, site, ids, amounts, entries, said, more = unpack(cmsgpack.unpack(ARGV[6]))
local CLOSED = KEYS[13]

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
if others and #place >= 7 and redis.call('HEXISTS', CLOSED, sub(place, 1, 7)) == 1 then
  return refuse('closed', sub(place, 1, 7))
end

local told = 0
local found = read_amounts(place, site, ids, amounts, entries, function(before)
  told = told + 1
  said[told][5] = before
end)
if found.short and others and not unmade then
  return refuse('short', found.short)
end

-- Write ----------------------------------------------------------------------------------------------------------------

if not unmade then
  write_amounts(found)
end
local record = record_of(head, seat.number, {-1, -1}, {-1, -1}, {0, 0}, place, said, more)
write_down(seat, record, undoes)
written()
return {'ok', record}

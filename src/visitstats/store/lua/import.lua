#!lua
-- Add the numbers of an old counter, and take them back. It stands behind record.lua, claims.lua and layers.lua.
--
-- An import is one change of many records. Its parts are put into the store first, where they do nothing (stage); then one
-- record writes the change down (begin), and from then on it will be made as a whole; then each part is made (part). An undo
-- writes itself down (begin), and then takes each part back. Parts are independent of each other and of everything in
-- between, so any process that finds parts that are not made, or not taken back, goes on with them.
--
-- Input
--   KEYS  1 to 4 what record.lua wants  5 to 12, 14 to 16 what layers.lua wants  13 the parts of the import  17 imports
--   ARGV  5 stage   6 msgpack: id of the change, number of the part, the part: msgpack of amounts of the site [visits, views],
--                   ids of articles, their amounts; their dictionary entries ('' for none)
--         5 begin   6 msgpack: id of the change, id of the import that it takes back or '', how many imports there were when it
--                   was worked out, the record's head, what the record says, a note, how many parts, the import's own record
--         5 part    6 msgpack: id of the import, number of the part, its place, 1 or -1 (take it back)
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua; for stage and part, `record` is ''. It is also refused: lacking (a part is not there), moved
-- (another import was made since it was worked out)
--
-- In the hash of the parts "3" is the third part, "3:names" the entries of its articles until it is made, "3:made" and "3:back"
-- say that it was made or taken back. A part that was taken back before it was made (after a loss) is never made.

local PARTS, IMPORTS = KEYS[13], KEYS[17]
local known_entry, _, _, _, _, packed_entry, fact_of, standing_of, set_fact = weighing()
-- Staged parts expire when their change never comes.
local STAGED_LIFE = 48 * 3600

local function stage(id, number, part, entries)
  local field, now = digits(number), redis.call('TIME')
  local begun = redis.call('HEXISTS', IMPORTS, id) == 1
  write('HSET', PARTS, field, part, field .. ':names', cmsgpack.pack(entries))
  if not begun then
    write('EXPIREAT', PARTS, digits(tonumber(now[1]) + STAGED_LIFE))
  end
  written()
  return {'ok', ''}
end

local function begin(id, undoes, seen, head, said, note, parts, own)
  local seat, reason = seat_of(id, {})
  if not seat then
    return refuse(reason)
  elseif undoes ~= '' and redis.call('HEXISTS', CHANGES, undoes .. ':undone') == 1 then
    return refuse('undone')
  elseif undoes == '' then
    if redis.call('HLEN', IMPORTS) ~= seen then
      return refuse('moved')
    end
    for n = 1, parts do
      if redis.call('HEXISTS', PARTS, digits(n)) == 0 then
        return refuse('lacking')
      end
    end
    write('HSET', IMPORTS, id, own)
    write('PERSIST', PARTS)
  end
  local record = record_of(head, seat.number, {-1, -1}, {-1, -1}, {0, 0}, '', said, note)
  write_down(seat, record, undoes)
  written()
  return {'ok', record}
end

local function filled(stored, new)
  -- Return the entry of an article with the import's facts where nothing is known, or only a reader's unconfirmed claim.
  local entry, given = known_entry(stored), known_entry(new)
  if not entry or not given then
    return nil
  end
  local changed = false
  for fact = 1, FACTS do
    local value, standing = fact_of(given, fact), standing_of(entry, fact)
    if value ~= '' and (standing == '-' or standing == 'p') then
      set_fact(entry, fact, value, 'i')
      changed = true
    end
  end
  return changed and packed_entry(entry) or nil
end

local function part(id, number, place, sign)
  local field = digits(number)
  local packed, names, made, back = unpack(redis.call('HMGET', PARTS, field, field .. ':names', field .. ':made', field .. ':back'))
  if sign > 0 and made or sign < 0 and back then
    written()
    return {'ok', ''}
  elseif sign > 0 and not packed then
    return refuse('lacking')
  end
  local mark = field .. (sign > 0 and ':made' or ':back')
  if sign > 0 and back or sign < 0 and not made then
    write('HSET', PARTS, mark, '1')
    written()
    return {'ok', ''}
  end
  local site, ids, amounts = unpack(cmsgpack.unpack(packed))
  local entries = sign > 0 and names and cmsgpack.unpack(names) or {}
  for n = 1, #amounts do
    amounts[n] = sign * amounts[n]
    entries[n] = entries[n] ~= '' and entries[n] or nil
  end
  local found = read_amounts(place, {sign * site[1], sign * site[2]}, ids, amounts, entries, function() end)
  local renamed = {}
  for n = 1, #ids do
    if entries[n] and not found.entries[ids[n]] then
      local stored = redis.call('HGET', NAMES, ids[n])
      local entry = stored and filled(stored, entries[n])
      if entry then
        insert(renamed, {ids[n], entry})
      end
    end
  end
  write_amounts(found)
  for _, each in ipairs(renamed) do
    write('HSET', NAMES, each[1], each[2])
  end
  write('HSET', PARTS, mark, '1')
  if names then
    write('HDEL', PARTS, field .. ':names')
  end
  written()
  return {'ok', ''}
end

return ({stage = stage, begin = begin, part = part})[ARGV[5]](unpack(cmsgpack.unpack(ARGV[6])))

#!lua
-- The part that the scripts of people's changes share: a change's place in the ledger, and how it is written down.
--
-- KEYS  1 watermarks  2 changes  3 the order of changes  4 changes of articles  … what the script itself wants
-- ARGV  1 to 4 what ledger.lua wants
-- Constants from store/change_records.py: MOST_CHANGES, MOST_OF_ARTICLE
-- Answers of every such script
--   {'gap', watermark}          nothing was written: go back to the record after the watermark
--   {'seen'}                    the ledger had the record
--   {'ok', record}              made
--   {'refused', reason, word}   the record is in the ledger, and has changed nothing. Any change: id (its id is taken), full (the
--                               site has MOST_CHANGES); an undo: undone (the change is undone already)
--
-- The cost of a change does not grow with the number of earlier ones. Its id is appended to their order, and to the last
-- MOST_OF_ARTICLE changes of its article.

do
  local mark = watermark()
  if tonumber(ARGV[3]) > mark then
    return {'gap', digits(mark)}
  elseif tonumber(ARGV[2]) <= mark then
    return {'seen'}
  end
end

local CHANGES, ORDER, OF_ARTICLES = KEYS[2], KEYS[3], KEYS[4]
local ID = 8

local function count(text)
  return tonumber(text or '0') or error('a count is no number')
end

local function refuse(reason, word)
  written()
  return {'refused', reason, word or ''}
end

local function record_of(head, ...)
  -- Make the store.change_records.Change from what the caller knows and what is known here.
  local record = {}
  for i = 1, #head do
    record[i] = head[i]
  end
  for _, field in ipairs({...}) do
    record[#record + 1] = field
  end
  return cmsgpack.pack(record)
end

local function earlier()
  -- Return the ids of changes that were made before there was an order of them, sorted by the numbers in their records.
  local found, numbers = redis.call('HGETALL', CHANGES), {}
  local ids = {}
  for i = 1, #found, 2 do
    if #found[i] == ID then
      local whole, record = pcall(cmsgpack.unpack, found[i + 1])
      numbers[found[i]] = whole and type(record) == 'table' and tonumber(record[8]) or 0
      insert(ids, found[i])
    end
  end
  table.sort(ids, function(a, b)
    if numbers[a] == numbers[b] then
      return a < b
    end
    return numbers[a] < numbers[b]
  end)
  return table.concat(ids)
end

-- Read what is needed to write down a change with this id: returns its seat, or why it has none. `articles` are the ids of the
-- articles that it is about.
local function seat_of(id, articles)
  local seat = {id = id, length = redis.call('STRLEN', ORDER), number = redis.call('HLEN', CHANGES), articles = articles}
  if redis.call('HEXISTS', CHANGES, id) == 1 then
    return nil, 'id'
  elseif seat.length >= ID * MOST_CHANGES then
    return nil, 'full'
  end
  seat.ids = (seat.length == 0 and seat.number > 0 and earlier() or '') .. id
  seat.lists = #articles > 0 and redis.call('HMGET', OF_ARTICLES, unpack(articles)) or {}
  return seat
end

local function write_down(seat, record, undoes)
  write('HSET', CHANGES, seat.id, record)
  if undoes and undoes ~= '' then
    write('HSET', CHANGES, undoes .. ':undone', seat.id)
  end
  write('SETRANGE', ORDER, digits(seat.length), seat.ids)
  for i, article in ipairs(seat.articles) do
    write('HSET', OF_ARTICLES, article, sub((seat.lists[i] or '') .. seat.id, -ID * MOST_OF_ARTICLE))
  end
end

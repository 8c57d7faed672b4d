#!lua
-- Make one change of a person's: merge two articles, undo that, or set baselines.
--
-- Input
--   KEYS  1 watermarks  2 aliases  3 changes  4 articles  5 baselines  6 names  7 counts  8 numbers of
--         articles  9 touched entries
--   ARGV  1 to 4 what ledger.lua wants
--         5 merge, undo or baseline   6 msgpack of what this kind wants, see below
--   and at the end of both what ledger.lua wants
-- Output
--   {'gap', watermark}          nothing was written: go back to the record after the watermark
--   {'ok', record}              made; of a baseline record is ''
--   {'refused', reason, word}   the record is in the ledger, and has changed nothing. Merge: id (it is taken), alias (one of
--                               the two is one by now), too-many. Undo: id, unknown, undone, later (the target was merged
--                               itself), moved (the alias is another one), short (the target has less in the list `word`
--                               than is to be given back). Baseline: moved (somebody merged since it was worked out)
--   {'seen'}                    the ledger had the record
--
-- A merge moves the views of all time and the baseline; what an article was read on each day stays with it, and whoever
-- reads days adds an alias's to those of the article for which it stands. What the two articles have is no reason to refuse
-- (who orders a merge is told before it is journalled): after a loss the hits that made one known may come later, from
-- another host, and the merge must not be lost for that.

local mark = watermark()
if tonumber(ARGV[3]) > mark then
  return {'gap', digits(mark)}
elseif tonumber(ARGV[2]) <= mark then
  return {'seen'}
end

local function count(text)
  return tonumber(text or '0')
end

local function refuse(reason, word)
  written()
  return {'refused', reason, word or ''}
end

local function record_of(head, ...)
  -- store.changes.Entry: what the caller knows, and what is known here.
  local record = {}
  for i = 1, #head do
    record[i] = head[i]
  end
  for _, field in ipairs({...}) do
    record[#record + 1] = field
  end
  return cmsgpack.pack(record)
end

-- Of two articles: views of all time and baseline, -1 for none.
local function both(from, into)
  local views, bases = redis.call('HMGET', KEYS[4], from, into), redis.call('HMGET', KEYS[5], from, into)
  return {tonumber(views[1] or '-1'), tonumber(views[2] or '-1')}, {tonumber(bases[1] or '-1'), tonumber(bases[2] or '-1')}
end

-- How many entries were touched so far, and how long the list of numbers is.
local function places()
  redis.call('STRLEN', KEYS[9])
  return {count(redis.call('HGET', KEYS[7], 'touched')), redis.call('STRLEN', KEYS[8])}
end

local function note(before, known, ids)
  -- `known`: of each of the ids, whether the site had the article. Those that it had not get numbers (commit.lua), the
  -- others are noted as touched.
  local numbered, touched = {}, {}
  for i = 1, #ids do
    insert(known[i] and touched or numbered, ids[i])
  end
  if #numbered > 0 then
    write('SETRANGE', KEYS[8], digits(before[2]), table.concat(numbered))
  end
  touch(KEYS[7], KEYS[9], before[1], touched)
end

local function merge(id, from, into, into_key, head, entry, most)
  -- id of the change, ids of the articles, the second one's key, the record's head, the second one's dictionary entry (for
  -- one that is not known yet), the most aliases.
  local edges = redis.call('HMGET', KEYS[2], from, into)
  local aliases, number = redis.call('HLEN', KEYS[2]), redis.call('HLEN', KEYS[3])
  local views, bases = both(from, into)
  local named = redis.call('HEXISTS', KEYS[6], into)
  local before = places()
  if redis.call('HEXISTS', KEYS[3], id) == 1 then
    return refuse('id')
  elseif edges[1] or edges[2] then
    return refuse('alias')
  elseif aliases >= most then
    return refuse('too-many')
  end
  local record = record_of(head, number, views, bases)
  if views[1] >= 0 then
    write('HSET', KEYS[4], into, digits(math.max(views[2], 0) + views[1]))
    write('HDEL', KEYS[4], from)
    if named == 0 then
      write('HSET', KEYS[6], into, entry)
    end
  end
  if bases[1] >= 0 then
    write('HSET', KEYS[5], into, digits(math.max(bases[2], 0) + bases[1]))
    write('HDEL', KEYS[5], from)
  end
  if views[1] >= 0 then
    note(before, {true, views[2] >= 0}, {from, into})
  end
  write('HSET', KEYS[2], from, into .. into_key)
  write('HSET', KEYS[3], id, record)
  written()
  return {'ok', record}
end

local function undo(id, merged, from, into, head)
  -- ids of this change and of the merge, ids of the articles, the record's head.
  local kept = redis.call('HMGET', KEYS[3], id, merged, merged .. ':undone')
  local edges = redis.call('HMGET', KEYS[2], from, into)
  local number = redis.call('HLEN', KEYS[3])
  local views, bases = both(from, into)
  local before = places()
  if kept[1] then
    return refuse('id')
  elseif not kept[2] then
    return refuse('unknown')
  elseif kept[3] then
    return refuse('undone')
  elseif edges[2] then
    return refuse('later')
  elseif not edges[1] or sub(edges[1], 1, 8) ~= into then
    return refuse('moved')
  end
  local made = cmsgpack.unpack(kept[2])
  local had, had_bases = made[#head + 2], made[#head + 3]
  local back, base_back = math.max(had[1], 0), math.max(had_bases[1], 0)
  if math.max(views[2], 0) < back then
    return refuse('short', 'views')
  elseif math.max(bases[2], 0) < base_back then
    return refuse('short', 'baselines')
  end
  local record = record_of(head, number, views, bases)
  if had[1] >= 0 then
    write('HSET', KEYS[4], from, digits(math.max(views[1], 0) + back))
    -- What was not there before the merge is not there again, unless it was read since.
    if had[2] < 0 and views[2] == back then
      write('HDEL', KEYS[4], into)
    else
      write('HSET', KEYS[4], into, digits(math.max(views[2], 0) - back))
    end
  end
  if had_bases[1] >= 0 then
    write('HSET', KEYS[5], from, digits(base_back))
    if had_bases[2] < 0 and bases[2] == base_back then
      write('HDEL', KEYS[5], into)
    else
      write('HSET', KEYS[5], into, digits(math.max(bases[2], 0) - base_back))
    end
  end
  if had[1] >= 0 then
    note(before, {true, true}, {from, into})
  end
  write('HDEL', KEYS[2], from)
  write('HSET', KEYS[3], id, record, merged .. ':undone', id)
  written()
  return {'ok', record}
end

local function baseline(changes, site_total, name, ids, totals, entries)
  -- How many fields KEYS[3] had when aliases were looked up; the site's baseline (-1 to leave it) and its name among the
  -- counts; article ids, their baselines, their dictionary entries ('' to keep the present one).
  if redis.call('HLEN', KEYS[3]) ~= changes then
    return refuse('moved')
  end
  local views, bases, names, known = {}, {}, {}, {}
  local total = count(redis.call('HGET', KEYS[7], 'views:' .. name))
  local before = places()
  redis.call('HLEN', KEYS[6])
  if #ids > 0 then
    local shown, had = redis.call('HMGET', KEYS[4], unpack(ids)), redis.call('HMGET', KEYS[5], unpack(ids))
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
        insert(names, entries[i])
      end
    end
    note(before, known, ids)
    write('HSET', KEYS[4], unpack(views))
    write('HSET', KEYS[5], unpack(bases))
    if #names > 0 then
      write('HSET', KEYS[6], unpack(names))
    end
    write('HSET', KEYS[7], 'views:' .. name, digits(total))
  end
  if site_total >= 0 then
    write('HSET', KEYS[7], 'visits:' .. name, digits(site_total))
  end
  written()
  return {'ok', ''}
end

return ({merge = merge, undo = undo, baseline = baseline})[ARGV[5]](unpack(cmsgpack.unpack(ARGV[6])))

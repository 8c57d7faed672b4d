#!lua
-- Commit one batch to the audience ledger: who was here (rules 2, 3, 4, 8 and 9 of core/counting.py).
--
-- Input
--   KEYS  1 watermark  2 seen that day  3 seen the day before  4 hit ids now  5 hit ids before  6 visits  7 ignored
--         8 hit ids after  9 seen today  10 seen yesterday (2 and 3 again, unless the batch comes late)
--         11 orphans, see below  12… the sketches of unique visitors, each for its share of the tokens (store/keys.py)
--   ARGV  1 the batch's sequence   2 the sequence of the writer's batch before it
--         3 core.batch.Batch.audience (msgpack)
--         4 expiries (msgpack: watermark seconds, seen, hit ids, unique, ignored as Unix seconds)
--         5 names of the counts to answer (msgpack)   6 the lowest score that is online now
--         7 what was decided before about this batch: the slots ('' as 8 and 9 when nothing was)   8 the new visits
--         9 a byte for each hit, odd when it started its visit ('' when that is not known)
--         10 'late' when the batch is decided behind others that came after it (a replay)
--   and at the end of both what ledger.lua wants
-- Output
--   {'gap', watermark}                                     nothing was read or written: rewind to watermark + 1
--   {'known'}                                              what was decided cannot be repeated, because one of its hits
--                                                          was counted meanwhile, and what it did is not known (9):
--                                                          decide anew. Nothing was written
--   {'ok' | 'kept' | 'seen', slots, started, starters, online, count, …}
--                                                          slots: a byte per hit, see below; started: new visits;
--                                                          starters: a byte per hit, 1 when it started its visit.
--                                                          kept: the ledger had the batch, and repeats what it decided;
--                                                          seen: it had it, and knows the slots alone
--
-- A byte of slots is the half hour in which the hit's visit began (it names the visit in the articles ledger), or 255 for
-- a hit that was delivered before.
--
-- An orphan is a visit of which a decided batch was put back, but not the one with the hit that started it, when that was
-- decided by another worker: its outcome may be lost, and then it is decided behind. It must not find that the visit was
-- started already; also not when the same beacon was sent to another worker again and counted there, as one of the visit
-- that was there by then. And a batch whose outcome comes back too late, behind others that were decided without it, must
-- not start a visit that they have started.
--
-- Everything is read and checked before the first write; every write is absolute, so that a prefix of them may be executed
-- twice (a cut append-only file, see the design, section 5); the watermark is the last.

local sequence, previous = tonumber(ARGV[1]), tonumber(ARGV[2])
local mark = redis.call('HMGET', KEYS[1], 's', 'n')
local watermark = tonumber(mark[1] or '0')
if previous > watermark then
  return {'gap', string.format('%.0f', watermark)}
end

local day_start, gap, slot_ms, carried, slot_count, online_ms,
  tokens, times, hit_ids, uniques, carries, counters, ignored = unpack(cmsgpack.unpack(ARGV[3]))
local expire = cmsgpack.unpack(ARGV[4])
local hits = #tokens
local DUPLICATE = 255
local FIRST_SKETCH = 12
local SKETCHES = #KEYS - FIRST_SKETCH
local KEPT_DECISIONS = 16 -- commit.KEPT_DECISIONS
local decided = ARGV[8] ~= ''
local marks = ARGV[9]
local late = ARGV[10] == 'late'

-- Long lists are handed over in pieces: Lua's unpack takes some 8,000 values at most.
local PIECE = 4000
local function each_piece(list, call)
  for from = 1, #list, PIECE do
    call(unpack(list, from, min(from + PIECE - 1, #list)))
  end
end

local function read_scores(key, members)
  local scores = {}
  for from = 1, #members, PIECE do
    local to = min(from + PIECE - 1, #members)
    local found = redis.call('ZMSCORE', key, unpack(members, from, to))
    for i = from, to do
      scores[members[i]] = tonumber(found[i - from + 1] or nil)
    end
  end
  return scores
end

local function numbers(answer)
  answer[#answer + 1] = redis.call('ZCOUNT', KEYS[9], ARGV[6], '+inf') + redis.call('ZCOUNT', KEYS[10], ARGV[6], '+inf')
  local counts = redis.call('HMGET', KEYS[6], unpack(cmsgpack.unpack(ARGV[5])))
  for i = 1, #counts do
    answer[#answer + 1] = tonumber(counts[i] or '0')
  end
  return answer
end

local function slot_at(time)
  return floor((time - day_start) / slot_ms)
end

local state = {}
if hits > 0 then
  state = read_scores(KEYS[2], tokens)
end

if sequence <= watermark then
  -- Decided before. The last decisions are kept word for word (a replay has several batches between the two ledgers, and
  -- may be cut off there); of an older one only the visitors' present slots are left.
  local word, slots, started, starters = 'seen', decided and ARGV[7], 0, ''
  local names = {}
  for i = 1, KEPT_DECISIONS do
    names[i] = 'd' .. (i - 1)
  end
  local start = ARGV[1] .. ':'
  for _, kept in pairs(redis.call('HMGET', KEYS[1], unpack(names))) do
    if kept and string.sub(kept, 1, #start) == start then
      local said = string.sub(kept, #start + 1)
      local visits = tonumber(string.sub(said, 2 * hits + 1))
      if visits then
        -- Also of a batch with an outcome: some of its hits may have been left out.
        word, slots, starters, started = 'kept', string.sub(said, 1, hits), string.sub(said, hits + 1, 2 * hits), visits
      elseif not slots and #said == hits then
        slots = said
      end
    end
  end
  if not slots then
    local bytes = {}
    for i = 1, hits do
      local slot = state[tokens[i]] and state[tokens[i]] % slot_count or carried
      bytes[i] = char(slot == carried and slot_at(times[i]) or slot)
    end
    slots = table.concat(bytes)
  end
  return numbers({word, slots, started, starters})
end

-- Read --------------------------------------------------------------------------------------------------------------

local delivered = {}
local asked = {}
for i = 1, hits do
  if hit_ids[i] ~= '' then
    asked[#asked + 1] = hit_ids[i]
  end
end
for _, key in ipairs({KEYS[4], KEYS[5], KEYS[8]}) do
  -- What came after is known already when this batch comes late, and its beacon was sent to another worker again.
  local count = key == KEYS[8] and redis.call('EXISTS', key) == 0 and 0 or #asked
  for from = 1, count, PIECE do
    local to = min(from + PIECE - 1, #asked)
    local found = redis.call('SMISMEMBER', key, unpack(asked, from, to))
    for i = from, to do
      if found[i - from + 1] == 1 then
        delivered[asked[i]] = true
      end
    end
  end
end

local old_tokens = {}
for i = 1, #carries do
  old_tokens[i] = carries[i][2]
end
local old_state = {}
if #old_tokens > 0 then
  old_state = read_scores(KEYS[3], old_tokens)
end

for _, n in ipairs({2, 3, 9, 10}) do
  redis.call('ZCARD', KEYS[n])
end
local orphans = {}
local function visit_of(i)
  -- The visit that a hit would have started, and its name among the orphans.
  local slot = decided and byte(ARGV[7], i) or DUPLICATE
  slot = slot == DUPLICATE and slot_at(times[i]) or slot
  return slot, tokens[i] .. char(slot)
end
if hits > 0 and (late or decided and marks ~= '') then
  for from = 1, hits, PIECE do
    local names = {}
    for i = from, min(from + PIECE - 1, hits) do
      local _, name = visit_of(i)
      names[#names + 1] = name
    end
    local found = redis.call('HMGET', KEYS[11], unpack(names))
    for n = 1, #names do
      orphans[names[n]] = found[n] == '1'
    end
  end
else
  redis.call('HLEN', KEYS[11])
end
if #uniques > 0 then
  -- A sketch is a text like any other to all commands but PFADD.
  for part = 0, SKETCHES - 1 do
    local head = redis.call('GETRANGE', KEYS[FIRST_SKETCH + part], 0, 3)
    if head ~= '' and head ~= 'HYLL' then
      return redis.error_reply('WRONGTYPE Key is not a valid HyperLogLog string value.')
    end
  end
end
local count_now = redis.call('HMGET', KEYS[6], unpack(counters))
local ignored_now = {}
if #ignored > 0 then
  local reasons = {}
  for i = 1, #ignored do
    reasons[i] = ignored[i][1]
  end
  ignored_now = redis.call('HMGET', KEYS[7], unpack(reasons))
end

-- Decide ------------------------------------------------------------------------------------------------------------

local started = 0
local slots = {}
local starters = {}
local STARTED, NOT_STARTED = char(1), char(0)
local dropped = 0
local changed = {}
local new_ids = {}
local new_orphans = {}

local function note_orphan(name, is)
  orphans[name] = is
  new_orphans[#new_orphans + 1] = name
  new_orphans[#new_orphans + 1] = is and '1' or ''
end

local function adopt(name)
  -- 1 when the start of a visit was still missing, and is counted now.
  if not orphans[name] then
    return 0
  end
  note_orphan(name, false)
  return 1
end

local function visit(member, time)
  -- One hit of a visitor: rule 3, as in core.counting.Presence.hit. Returns the visit's slot, and 1 when the hit started it.
  local score = state[member]
  local slot = score and score % slot_count
  local last = score and (score - slot) / slot_count
  local starts = 0
  if not score or slot == carried or time - last > gap then
    starts = 1
    slot = slot_at(time)
    last = time
  elseif time > last then
    last = time
  elseif late and slot_at(time) == slot then
    starts = adopt(member .. char(slot))
  end
  started = started + starts
  state[member] = last * slot_count + slot
  changed[member] = true
  return slot, starts
end

for i = 1, hits do
  local id, token, time = hit_ids[i], tokens[i], times[i]
  if decided then
    -- A replay repeats what was counted, whatever is known by now.
    local slot = byte(ARGV[7], i)
    local starts = marks == '' and 0 or byte(marks, i) % 2
    local visit_slot, name = visit_of(i)
    local score = state[token]
    local there = score and score % slot_count == visit_slot
    if slot ~= DUPLICATE and id ~= '' then
      if not delivered[id] then
        new_ids[#new_ids + 1] = id
      elseif marks ~= '' then
        -- The same beacon was counted by another writer on another copy of this store (a split brain).
        slot = DUPLICATE
      else
        return {'known'}
      end
    end
    if starts == 1 and adopt(name) == 0 and (there or slot == DUPLICATE and byte(ARGV[7], i) ~= DUPLICATE) then
      -- The visit has been started meanwhile, by another hit or by this one elsewhere.
      dropped = dropped + 1
      starts = 0
    elseif starts == 0 and slot ~= DUPLICATE and marks ~= '' and not there then
      note_orphan(name, true)
    end
    slots[i] = char(slot)
    starters[i] = starts == 1 and STARTED or NOT_STARTED
    if (slot ~= DUPLICATE or starts == 1) and (not score or time >= (score - score % slot_count) / slot_count) then
      state[token] = time * slot_count + visit_slot
      changed[token] = true
    end
  elseif id ~= '' and delivered[id] then
    -- It was counted elsewhere, where it found the visitor there already, as an orphan: the start that is missing is here.
    local score = state[token]
    local _, name = visit_of(i)
    local starts = late and score and time <= (score - score % slot_count) / slot_count and adopt(name) or 0
    started = started + starts
    slots[i] = char(DUPLICATE)
    starters[i] = starts == 1 and STARTED or NOT_STARTED
  else
    if id ~= '' then
      delivered[id] = true
      new_ids[#new_ids + 1] = id
    end
    local score = state[token]
    if score and score % slot_count ~= carried and time < day_start + (score % slot_count) * slot_ms - gap then
      -- A hit from before the visitor's present visit, applied late (a journal that was replayed after another
      -- worker's): it belongs to an earlier visit, which is followed under a name of its own.
      token = token .. '<'
      if state[token] == nil then
        state[token] = tonumber(redis.call('ZSCORE', KEYS[2], token) or nil)
      end
    end
    local slot, starts = visit(token, time)
    slots[i] = char(slot)
    starters[i] = starts == 1 and STARTED or NOT_STARTED
  end
end
slots = table.concat(slots)
starters = table.concat(starters)
if decided then
  started = tonumber(ARGV[8]) - dropped
end

-- Write -------------------------------------------------------------------------------------------------------------

do
  local parts = {}
  for i = 1, #uniques do
    local part = byte(uniques[i], 1) % SKETCHES
    parts[part] = parts[part] or {}
    insert(parts[part], uniques[i])
  end
  for part, members in pairs(parts) do
    local key = KEYS[FIRST_SKETCH + part]
    each_piece(members, function(...) write('PFADD', key, ...) end)
    write('EXPIREAT', key, expire[4])
  end
end

local function digits(number)
  return string.format('%.0f', number)
end

local pairs_seen = {}
for member in pairs(changed) do
  pairs_seen[#pairs_seen + 1] = state[member]
  pairs_seen[#pairs_seen + 1] = member
end
if #pairs_seen > 0 then
  each_piece(pairs_seen, function(...) write('ZADD', KEYS[2], ...) end)
  write('EXPIREAT', KEYS[2], expire[2])
end

if #new_orphans > 0 then
  each_piece(new_orphans, function(...) write('HSET', KEYS[11], ...) end)
  write('EXPIREAT', KEYS[11], expire[2])
end

if #new_ids > 0 then
  each_piece(new_ids, function(...) write('SADD', KEYS[4], ...) end)
  write('EXPIREAT', KEYS[4], expire[3])
end

-- Rule 2: who has a token of today is not online under yesterday's. The old presence stays, for late hits of yesterday.
for i = 1, #carries do
  local score = old_state[carries[i][2]]
  if score and byte(slots, carries[i][1] + 1) ~= DUPLICATE then
    local slot = score % slot_count
    local left = (times[carries[i][1] + 1] - online_ms - 1) * slot_count + slot
    if left < score then
      write('ZADD', KEYS[3], digits(left), carries[i][2])
    end
  end
end

if started > 0 then
  local fields = {}
  for i = 1, #counters do
    fields[#fields + 1] = counters[i]
    fields[#fields + 1] = digits(tonumber(count_now[i] or '0') + started)
  end
  write('HSET', KEYS[6], unpack(fields))
end

if #ignored > 0 then
  local fields = {}
  for i = 1, #ignored do
    fields[#fields + 1] = ignored[i][1]
    fields[#fields + 1] = digits(tonumber(ignored_now[i] or '0') + ignored[i][2])
  end
  write('HSET', KEYS[7], unpack(fields))
  write('EXPIREAT', KEYS[7], expire[5])
end

local turn = digits((tonumber(mark[2] or '0') + 1) % KEPT_DECISIONS)
local known = decided and marks == '' and '' or starters .. digits(started)
write('HSET', KEYS[1], 's', ARGV[1], 'n', turn, 'd' .. turn, ARGV[1] .. ':' .. slots .. known)
write('EXPIRE', KEYS[1], expire[1])
written()
return numbers({'ok', slots, started, starters})

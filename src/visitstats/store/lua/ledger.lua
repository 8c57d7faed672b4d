-- The part that all scripts which write to a ledger share. It stands before each of them.
--
-- KEYS  1 watermarks of the writers   … the last: the ledger's redo record
--       Only the last for work that is no writer's record (seal.lua, number.lua) and may be done by any process at any time
-- ARGV  1 the writer's id  2 the record's sequence  3 the sequence of the writer's record before it for this site
--       4 how many hits the writer has journalled for this site, this record included
--       … the last: '' when the script is to write, 'put down' when it is only to put down what it would write, 'finish'
--       when it is only to finish what was put down
--
-- A watermark is "sequence:hits" of the last record of a writer that the ledger has. It is written last, so that a record
-- is either wholly in the ledger or counts as missing. The rules for every script:
--
--   - Everything is read and decided before the first write, so that an error of the server changes nothing.
--   - Writes are absolute (HSET, SADD, PFADD, SETRANGE, EXPIREAT; COPY, PERSIST, UNLINK), never increments: the beginning of
--     a transaction that was cut off in the append-only file may be executed twice. No write may fail the second time.
--
-- Some servers (Redis 7.0 to 8.2) execute such a beginning at the next restart but one, together with whatever was written
-- since. Those writes were decided without it, and being absolute does not make that harmless. So on these servers a record
-- takes two steps. The first is a single command, which cannot be cut: it puts down all writes of the record, with its
-- watermark, in the redo record. The second executes them and removes the redo record. A script that comes in between
-- finishes the second step first, so that nothing is ever decided while writes are still to be executed.

local REDO = KEYS[#KEYS]
-- The redo record expires before any key of its day does: executed later, it would make such a key again, without an end of
-- life. A record of the journal that is lost with it is still in the journal.
local REDO_LIFE = 24 * 3600
do
  local open = redis.call('GET', REDO)
  if open then
    for _, command in ipairs(cmsgpack.unpack(open)) do
      redis.call(unpack(command))
    end
    redis.call('DEL', REDO)
  end
end

if ARGV[#ARGV] == 'finish' then
  return 0
end

-- Functions that the loops over hits use, looked up once and not for each hit (reading a script's globals is slow).
local byte, char, floor, find, sub, insert, min = string.byte, string.char, math.floor, string.find, string.sub, table.insert, math.min

-- Calls a function with long lists in pieces: Lua's unpack takes some 8,000 values at most.
local PIECE = 4000
local function each_piece(list, call)
  for from = 1, #list, PIECE do
    call(unpack(list, from, min(from + PIECE - 1, #list)))
  end
end

local put_down = ARGV[#ARGV] == 'put down' and {}

local function write(...)
  if put_down then
    put_down[#put_down + 1] = {...}
  else
    redis.call(...)
  end
end

local function digits(number)
  return string.format('%.0f', number)
end

local function watermark()
  return tonumber(string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '0', '^%d+'))
end

local function touch(counts, ring, before, ids)
  -- Note in the ring, behind the `before` earlier ones, that entries of articles were changed (store/keys.py): lists read
  -- these anew.
  for i, id in ipairs(ids) do
    write('SETRANGE', ring, digits(8 * ((before + i - 1) % MOST_TOUCHED)), id)
  end
  write('HSET', counts, 'touched', digits(before + #ids))
end

local function all_written()
  -- To be called once, after the last write.
  if put_down then
    redis.call('SET', REDO, cmsgpack.pack(put_down), 'EX', REDO_LIFE)
  end
end

local function written()
  -- To be called in place of all_written for a writer's record: its watermark is the last write.
  write('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
  all_written()
end


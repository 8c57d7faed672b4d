-- What stands before every script that writes to a ledger. The last of KEYS is the ledger's redo record. The last of ARGV
-- is '' when the script is to write, 'put down' when it is only to put down what it would write, 'finish' when it is only to
-- finish what was put down.
--
-- Some servers (Redis 7.0 to 8.2; redis-facts) keep the beginning of a transaction whose end was cut off the append-only
-- file, and execute it at the next restart, together with whatever was written since. Absolute writes alone do not make that
-- harmless: what was written since was decided without them. So on these servers a batch takes two steps. The first is a
-- single command, which cannot be cut into halves: it puts down all writes of the batch, its watermark among them. The
-- second executes them and removes what was put down. Whoever comes to the ledger in between finishes the second step
-- first, so that nothing is ever decided beside writes that may come up again.

local REDO = KEYS[#KEYS]
local REDO_LIFE = 48 * 3600 -- as long as the salt: it may hold tokens
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

-- What the loops over hits use: looked up once, and not for each hit (a script's globals are tables behind guards).
local byte, char, floor, insert, min = string.byte, string.char, math.floor, table.insert, math.min

local put_down = ARGV[#ARGV] == 'put down' and {}

local function write(...)
  if put_down then
    put_down[#put_down + 1] = {...}
  else
    redis.call(...)
  end
end

local function written()
  -- To be called once, after the last write.
  if put_down and #put_down > 0 then
    redis.call('SET', REDO, cmsgpack.pack(put_down), 'EX', REDO_LIFE)
  end
end


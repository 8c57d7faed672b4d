#!lua
-- Close a period, or open it again. It stands behind record.lua.
--
-- Input
--   KEYS  1 to 4 what record.lua wants  5 closed periods  6 what was frozen of the period
--   ARGV  5 freeze   6 msgpack: id of the change, number of a piece from 0 on, the piece
--         5 close    6 msgpack: id of the change, id of the change that it takes back or '', the record's head, the period, the
--         closing that is to be in force ('' for none), the id of the change that froze it, its pieces, the id of the closing
--         that is in force now ('' for none), what the record says
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua; for a piece, `record` is ''. It is also refused: moved (another closing is in force), lacking (a
-- piece is not there)
--
-- What was frozen is kept for ever, even when the period is opened again: an undo of the opening closes it as it was.

local CLOSED, FROZEN = KEYS[5], KEYS[6]

local function freeze(id, number, piece)
  redis.call('HLEN', FROZEN)
  write('HSET', FROZEN, id .. ':' .. digits(number), piece)
  written()
  return {'ok', ''}
end

local function close(id, undoes, head, period, closing, frozen, pieces, expected, said)
  local seat, reason = seat_of(id, {})
  if not seat then
    return refuse(reason)
  elseif undoes ~= '' and redis.call('HEXISTS', CHANGES, undoes .. ':undone') == 1 then
    return refuse('undone')
  end
  local now = redis.call('HGET', CLOSED, period)
  if now and cmsgpack.unpack(now)[1] ~= expected or not now and expected ~= '' then
    return refuse('moved')
  end
  for n = 1, closing ~= '' and pieces or 0 do
    if redis.call('HEXISTS', FROZEN, frozen .. ':' .. digits(n - 1)) == 0 then
      return refuse('lacking')
    end
  end
  local record = record_of(head, seat.number, {-1, -1}, {-1, -1}, {0, 0}, period, {}, said)
  if closing == '' then
    write('HDEL', CLOSED, period)
  else
    write('HSET', CLOSED, period, closing)
    write('HSET', FROZEN, frozen, closing)
  end
  write_down(seat, record, undoes)
  written()
  return {'ok', record}
end

return ({freeze = freeze, close = close})[ARGV[5]](unpack(cmsgpack.unpack(ARGV[6])))

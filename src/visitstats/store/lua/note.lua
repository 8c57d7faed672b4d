#!lua
-- Write down a change that is made elsewhere: settings of a site, which are kept in the list of sites. It stands behind
-- record.lua.
--
-- Input
--   KEYS  1 to 4 what record.lua wants
--   ARGV  5 settings   6 msgpack: id of the change, '' (nothing is taken back), the record's head, what the record says
--   and at the end of both what ledger.lua wants
-- Output: that of record.lua

local id, _, head, said = unpack(cmsgpack.unpack(ARGV[6]))
local seat, reason = seat_of(id, {})
if not seat then
  return refuse(reason)
end
local record = record_of(head, seat.number, {-1, -1}, {-1, -1}, {0, 0}, '', {}, said)
write_down(seat, record)
written()
return {'ok', record}

#!lua
-- Seal a packed month: from now on its tiles are read in place of the hashes of its days.
--
-- Input
--   KEYS  1 the tiles that were written  2 where they are to be  3 records of packed months  4 the site's views per day
--         5… the articles of each day of the month
--   ARGV  1 the month  2 the record (msgpack)  3 how many tiles were written
--         4 for each day what was packed (msgpack): the field of its views in KEYS[4], the views, the number of articles,
--           the field of its corrections, their number
--   and at the end of both what ledger.lua wants; it is called to put down, and again to finish
-- Output
--   {'ok'}             done
--   {'packed'}         the month is packed already
--   {'lost'}           some tiles are missing, or expire too soon: the store has lost some, or they are too old
--   {'moved', day}     another number of views or articles: a hit came in between, or the store has lost one
--
-- The packer has read everything on one connection before it wrote the first tile. So a store that comes back older either
-- lacks tiles, or has everything from which they were made. Hits since then show in the sums; corrections that leave a sum as
-- it was show in their number.

local days = cmsgpack.unpack(ARGV[4])
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  return {'packed'}
elseif redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[3]) or redis.call('TTL', KEYS[1]) <= REDO_LIFE then
  return {'lost'}
end
for i = 1, #days do
  local field, views, articles, of_corrections, corrections = unpack(days[i])
  if (redis.call('HGET', KEYS[4], field) or '0') ~= views or redis.call('HLEN', KEYS[4 + i]) ~= articles
    or (redis.call('HGET', KEYS[4], of_corrections) or '0') ~= corrections then
    return {'moved', digits(i)}
  end
end

write('COPY', KEYS[1], KEYS[2], 'REPLACE')
write('PERSIST', KEYS[2])
write('HSET', KEYS[3], ARGV[1], ARGV[2])
write('UNLINK', KEYS[1])
for i = 1, #days do
  write('UNLINK', KEYS[4 + i])
end
all_written()
return {'ok'}

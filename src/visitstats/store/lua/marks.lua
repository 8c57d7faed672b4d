#!lua flags=no-writes
-- Return the watermarks of those sites where they differ from the known ones: once a second, for all sites in one command
-- (store/writers.py).
--
-- KEYS  the watermarks of sites        ARGV  for each site, the known ones, as they were answered last
-- Output: for each site that has moved {its place from 0, all watermarks in one text, {writer, watermark, writer, …}}

local call, concat = redis.call, table.concat
local moved = {}
for i = 1, #KEYS do
  local now = concat(call('HVALS', KEYS[i]), ' ')
  if now ~= ARGV[i] then
    moved[#moved + 1] = {i - 1, now, call('HGETALL', KEYS[i])}
  end
end
return moved

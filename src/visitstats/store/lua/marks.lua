#!lua flags=no-writes
-- Which sites' watermarks are others than those that are known, and what they are now: asked for once a second, of all
-- sites in one command (visitstats.hosts).
--
-- KEYS  the watermarks of sites        ARGV  for each, those that are known, as they are answered
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

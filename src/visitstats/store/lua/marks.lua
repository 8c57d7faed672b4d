#!lua flags=no-writes
-- Which sites' watermarks are others than those that are known, and what they are now: asked for once a second, of all
-- sites in one command (visitstats.hosts).
--
-- KEYS  the watermarks of sites        ARGV  for each, the digest of those that are known; '' for none
-- Output: for each site that has moved {its place from 0, digest, {writer, watermark, writer, watermark, …}}

local moved = {}
for i = 1, #KEYS do
  local marks = redis.call('HGETALL', KEYS[i])
  local digest = redis.sha1hex(table.concat(marks, ' '))
  if digest ~= ARGV[i] then
    moved[#moved + 1] = {i - 1, digest, marks}
  end
end
return moved

#!lua
-- Give the next numbers to articles that have none.
--
-- Input
--   KEYS  1 ids in the order of their numbers
--   ARGV  1 how many bytes KEYS[1] has, as far as is known  2 ids to append
--   and at the end of both what ledger.lua wants
-- Output: 1 when they have numbers. 0 when KEYS[1] has another length, and nothing was done: another process gave numbers,
-- or the store has lost some.

if redis.call('STRLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
  return 0
end
write('SETRANGE', KEYS[1], ARGV[1], ARGV[2])
return 1

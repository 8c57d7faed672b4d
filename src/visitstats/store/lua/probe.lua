#!lua
-- Finds out whether the server takes writes, and writes nothing: a server refuses a script without the flag `no-writes` when
-- it is out of memory, a replica, short of replicas, or cannot save.
--
-- Output: 1

return 1

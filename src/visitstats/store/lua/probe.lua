#!lua
-- Asks whether the server takes writes, and writes nothing: a script that does not say `no-writes` is refused by a
-- server that is out of memory, a replica, short of replicas, or that cannot save.
--
-- Output: 1

return 1

-- drop_owner: remove a worker that is gone, unless it has beaten since it was judged.
-- KEYS  1 workers  2 info
-- ARGV  1 incarnation  2 the counter it stood at; '-1' = it was not listed; '-2' = any (its lock
--       on its machine was free, so it is gone, or it is ourselves who leave)
-- Returns 1, or 0 if the counter is another: then nothing is changed.
-- Atomic: judging the counter and removing it.  What is known about a worker (info) is for people,
-- so a key of another type there is let be.
redis.call('HDEL', KEYS[1], '')
local counter = redis.call('HGET', KEYS[1], ARGV[1]) or '-1'
if ARGV[2] ~= '-2' and counter ~= ARGV[2] then return 0 end
if redis.call('TYPE', KEYS[2]).ok == 'hash' then redis.call('HDEL', KEYS[2], ARGV[1]) end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1

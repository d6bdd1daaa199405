-- bury: move a claimed job to the left end of a list: the dead letters, or the parked jobs.
-- KEYS  1 run  2 dead or parked
-- ARGV  1 token  2 record; '' = the bytes that lie in `run`
-- Returns 1, or 0 if the token is not in `run` (the claim was lost): then nothing is changed.
-- Atomic: copied before the token, which is the commit, is consumed.
redis.call('HDEL', KEYS[1], '')
redis.call('LLEN', KEYS[2])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local record = ARGV[2]
if record == '' then record = redis.call('HGET', KEYS[1], ARGV[1]) end
redis.call('LPUSH', KEYS[2], record)
redis.call('HDEL', KEYS[1], ARGV[1])
return 1

-- trim: remove the oldest dead letters above a cap.
-- KEYS  1 run  2 dead
-- ARGV  1 how many are kept
-- Returns how many were removed, 200 at most: the caller counts and logs them, and calls again.
-- Atomic: judging the length and cutting the right end.
redis.call('HDEL', KEYS[1], '')
local keep = tonumber(ARGV[1])
if not keep or keep < 0 then return redis.error_reply('ERR the cap is no number') end
local over = math.min(redis.call('LLEN', KEYS[2]) - keep, 200)
if over < 1 then return 0 end
redis.call('LTRIM', KEYS[2], 0, -(over + 1))
return over

-- let_go: give what lies in a worker's hand back to the right end of its list.
-- KEYS  1 run  2 hand  3 list  4 hands
-- ARGV  1 incarnation  2 what `hands` is to say of it from now on: 'waits', or 'died' (a wait of it may
--       still fire), '' = as it was  3 what it says that is to go once the hand is empty; '' = nothing
-- Returns how many were given back, 16 at most.
-- Atomic: copied before they are removed; a hand that holds something stays named.
redis.call('HDEL', KEYS[1], '')
local left = redis.call('LLEN', KEYS[2])
redis.call('LLEN', KEYS[3])
local says = redis.call('HGET', KEYS[4], ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[2]) end
local held = redis.call('LRANGE', KEYS[2], 0, 15) -- the newest first: the oldest ends up rightmost
if #held > 0 then
  redis.call('RPUSH', KEYS[3], unpack(held))
  redis.call('LTRIM', KEYS[2], #held, -1)
end
if says and says == ARGV[3] and #held == left then redis.call('HDEL', KEYS[4], ARGV[1]) end
return #held

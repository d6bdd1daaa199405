-- hold: put what a wait moved into its worker's hand into `run`, under a token the worker made.
-- KEYS  1 run  2 hand  3 list
-- ARGV  1 token  2 record, exactly as the wait answered it
-- Returns how many are left in the list, also when the token is in `run` already (called again);
-- -1 if neither `run` has the token nor the hand the record (it was let go), DUPTOKEN if the token is
-- that of another record: nothing is changed.
-- Atomic: copied before it is removed, so it is never in neither place.
redis.call('HDEL', KEYS[1], '')
local left = redis.call('LLEN', KEYS[3])
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there == ARGV[2] then return left end
if there then return redis.error_reply('DUPTOKEN ' .. ARGV[1]) end
local held = redis.call('LRANGE', KEYS[2], 0, 15)
for i = #held, 1, -1 do
  if held[i] == ARGV[2] then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    redis.call('LREM', KEYS[2], -1, ARGV[2])
    return left
  end
end
return -1

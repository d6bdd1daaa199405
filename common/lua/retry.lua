-- retry: move a claimed job to a zset (`retry` or `scheduled`) until it is due.
-- KEYS  1 run  2 zset
-- ARGV  1 token  2 ms  3 '1': 2 counts from now, '0': 2 is a time  4 record
-- Returns 1, or 0 if the token is not in `run` (the claim was lost): then nothing is changed.
-- Atomic: due time by Redis' clock; copied before the token, which is the commit, is consumed.
redis.call('HDEL', KEYS[1], '')
redis.call('ZCARD', KEYS[2])
local at = tonumber(ARGV[2])
if not at then return redis.error_reply('ERR the time is no number') end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[3] == '1' then
  local now = redis.call('TIME')
  at = at + now[1] * 1000 + math.floor(now[2] / 1000)
end
redis.call('ZADD', KEYS[2], string.format('%.0f', at), ARGV[4])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1

-- unpark: take one parked job straight into `run`, never through the list.
-- KEYS  1 run  2 parked
-- ARGV  1 token, new  2 record, exactly as it is parked  3 where it was seen, as LINDEX counts; it may
--       have moved, and is looked for from the nearer end
-- Returns 1, or 0 if it is not parked any more; DUPTOKEN, nothing changed, if `run` has the token.
-- Atomic: copied before it is removed; the copy is taken back if there was nothing to remove.
redis.call('HDEL', KEYS[1], '')
local length, at = redis.call('LLEN', KEYS[2]), tonumber(ARGV[3])
if not at then return redis.error_reply('ERR the place is no number') end
if at < 0 then at = at + length end
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return redis.error_reply('DUPTOKEN ' .. ARGV[1])
end
if redis.call('LREM', KEYS[2], 2 * at >= length and -1 or 1, ARGV[2]) == 1 then return 1 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 0

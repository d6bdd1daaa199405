-- take: move one unclaimed record to another list, or remove it; for people at work with jobctl.
-- KEYS  1 run  2 source: list or zset, never the queue's own list, which nothing may search
--       3 target list, if it is moved
-- ARGV  1 record, exactly as it lies there  2 record to push  3 '1' or '-1': search a list from its
--       left or right end
-- Returns 1, or 0 if it is not there (any more): then nothing is changed.
-- Atomic: copied before it is removed, so it is never in neither place.
redis.call('HDEL', KEYS[1], '')
if KEYS[3] then redis.call('LLEN', KEYS[3]) end
local in_list = redis.call('TYPE', KEYS[2]).ok ~= 'zset'
local found
if in_list then
  found = redis.call('LPOS', KEYS[2], ARGV[1], 'RANK', ARGV[3])
else
  found = redis.call('ZSCORE', KEYS[2], ARGV[1])
end
if not found then return 0 end
if KEYS[3] then redis.call('LPUSH', KEYS[3], ARGV[2]) end
if in_list then
  return redis.call('LREM', KEYS[2], ARGV[3], ARGV[1])
end
return redis.call('ZREM', KEYS[2], ARGV[1])

-- take: move one unclaimed record to another list, or remove it; for people at work with jobctl.
-- KEYS  1 run  2 source: list or zset, never the queue's own list, which nothing may search
--       3 target list, if it is moved
-- ARGV  1 record, exactly as it lies there  2 record to push  3 of a list: where it was seen, as LINDEX
--       counts; it may have moved, and is looked for from the nearer end
-- Returns 1, or 0 if it is not there (any more): then nothing is changed.
-- Atomic: copied before it is removed, so it is never in neither place; a list is gone through only
-- once, and the copy taken back if there was nothing to remove.
redis.call('HDEL', KEYS[1], '')
if KEYS[3] then redis.call('LLEN', KEYS[3]) end
local in_list = redis.call('TYPE', KEYS[2]).ok ~= 'zset'
local from = 1
if in_list then
  local length, at = redis.call('LLEN', KEYS[2]), tonumber(ARGV[3])
  if not at then return redis.error_reply('ERR the place is no number') end
  if at < 0 then at = at + length end
  if 2 * at >= length then from = -1 end
elseif not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
if KEYS[3] then redis.call('LPUSH', KEYS[3], ARGV[2]) end
if not in_list then return redis.call('ZREM', KEYS[2], ARGV[1]) end
local removed = redis.call('LREM', KEYS[2], from, ARGV[1])
if removed == 0 and KEYS[3] then redis.call('LPOP', KEYS[3]) end
return removed

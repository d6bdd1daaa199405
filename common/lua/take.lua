-- take: move one unclaimed record to another list or straight into `run`, or remove it.
-- KEYS  1 run  2 source: list or zset, never the queue's own list, which nothing may search  3 target
-- ARGV  1 record, exactly as it lies there  2 record to push to the target  3 of a list: where it was
--       seen, as LINDEX counts; it may have moved by 16 places  4 token, new, if it goes into `run`
-- Returns 1, or 0 if it is not there (any more); DUPTOKEN if `run` has the token: nothing is changed.
-- Atomic: it is found, copied, then removed, so it is never in neither place.
-- Bounded: LREM walks, so it is for what lies within 10,000 of an end; from further in, what lies
-- behind moves up in 32 strides, the oldest at last: no more than these leave the order of the list.
local source, record, found, length = KEYS[2], ARGV[1]
redis.call('HDEL', KEYS[1], '')
if KEYS[3] then redis.call('LLEN', KEYS[3]) end
if redis.call('TYPE', source).ok == 'zset' then
  found = redis.call('ZSCORE', source, record)
else
  local at = tonumber(ARGV[3])
  if not at then return redis.error_reply('ERR the place is no number') end
  length = redis.call('LLEN', source)
  if at >= 0 then at = at - length end -- counted from the right: -1 is the last
  for n = 0, 32 do
    local i = at + math.ceil(n / 2) * (n % 2 * 2 - 1)
    if i < 0 and i >= -length and redis.call('LINDEX', source, i) == record then found = i break end
  end
end
if not found then return 0 end
if ARGV[4] and redis.call('HSETNX', KEYS[1], ARGV[4], record) == 0 then
  return redis.error_reply('DUPTOKEN ' .. ARGV[4])
end
if KEYS[3] then redis.call('LPUSH', KEYS[3], ARGV[2]) end
if not length then return redis.call('ZREM', source, record) end
if math.min(length + found, -1 - found) < 10000 then
  return redis.call('LREM', source, 2 * found + length >= 0 and -1 or 1, record)
end
local stride = math.ceil(-found / 32)
while found < -1 do
  local from = math.min(found + stride, -1)
  redis.call('LSET', source, found, redis.call('LINDEX', source, from))
  found = from
end
redis.call('LREM', source, -1, redis.call('LINDEX', source, -1))
return 1

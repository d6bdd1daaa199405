-- due: move what is due from a zset to the left end of the list, as if it were pushed now.
-- KEYS  1 zset (`retry` or `scheduled`)  2 list  3 run
-- ARGV  1 how many (<= 200)
-- Returns {moved, ms until the next is due}: 0 = more are due now, -1 = the zset is empty.
-- Atomic: by Redis' clock; each record is copied before it is removed, in due order, one by one.
-- Bounded in bytes too (256 KiB, which one record may exceed): read in doubling steps, as in claim.
if redis.call('ZCARD', KEYS[1]) == 0 then return {0, -1} end
redis.call('HDEL', KEYS[3], '')
redis.call('LLEN', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = string.format('%.0f', now)
local most, moved, bytes, largest, step = math.min(tonumber(ARGV[1]), 200), 0, 0, 1, 1
while step > 0 and moved < most do
  step = math.min(step, most - moved)
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', last, 'LIMIT', 0, step)
  for _, record in ipairs(due) do
    if moved > 0 and bytes + #record > 262144 then most = moved break end
    redis.call('LPUSH', KEYS[2], record)
    redis.call('ZREM', KEYS[1], record)
    moved, bytes, largest = moved + 1, bytes + #record, math.max(largest, #record)
  end
  if #due < step then break end
  step = math.min(step * 2, 32, math.floor((262144 - bytes) / largest))
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not head[1] then return {moved, -1} end
local wait = (tonumber(head[2]) or 9e15) - now
return {moved, math.ceil(math.max(0, math.min(wait, 9e15)))}

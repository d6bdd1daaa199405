-- claim: take records from the right end of a list into `run`, under tokens the caller made.
-- KEYS  1 list  2 run  3 paused
-- ARGV  1 incarnation  2 first sequence  3 how many (<= 256)  4 bytes (one record may exceed)
-- Returns {0, left in the list, record...}, the longest waiting first, under the tokens in order;
-- {1, left} while paused; DUPTOKEN, nothing changed, if one of the tokens is in `run` already.
-- Atomic: a record is in the list or in `run`, never in both, never in neither.
local unpack, format = table.unpack or unpack, string.format
local left = redis.call('LLEN', KEYS[1])
local n, room = math.min(tonumber(ARGV[3]), left, 256), tonumber(ARGV[4])
if n < 1 then return {0, left} end
redis.call('HDEL', KEYS[2], '')
if redis.call('EXISTS', KEYS[3]) == 1 then return {1, left} end
if n == 1 then
  local token, record = ARGV[1] .. ':' .. ARGV[2], redis.call('LRANGE', KEYS[1], '-1', '-1')[1]
  local new = redis.call('HSETNX', KEYS[2], token, record) == 1
  if not new then return redis.error_reply('DUPTOKEN ' .. token) end
  redis.call('LTRIM', KEYS[1], '0', '-2')
  return {0, left - 1, record}
end
local tokens, taken, fields, bytes, largest, step = {}, {0, 0}, {}, 0, 1, 1
local form, before, count = ARGV[1] .. ':%d', ARGV[2] - 1, 0
for i = 1, n do tokens[i] = format(form, before + i) end
for i, held in ipairs(redis.call('HMGET', KEYS[2], unpack(tokens))) do
  if held then return redis.error_reply('DUPTOKEN ' .. tokens[i]) end
end
while step > 0 and count < n do -- many large records read at once would block Redis for seconds
  local part = redis.call('LRANGE', KEYS[1], -(count + math.min(step, n - count)), -(count + 1))
  for i = #part, 1, -1 do
    local record, size = part[i], #part[i]
    bytes, largest = bytes + size, size > largest and size or largest
    if count > 0 and bytes > room then step = 0 break end
    count = count + 1
    taken[count + 2], fields[2 * count - 1], fields[2 * count] = record, tokens[count], record
  end
  step = math.min(step * 2, 32, math.floor((room - bytes) / largest))
end
taken[2] = left - count
redis.call('HSET', KEYS[2], unpack(fields))
redis.call('LTRIM', KEYS[1], 0, -(count + 1))
return taken

-- scan: page through the tokens in `run` without sending the records.
-- KEYS  1 run
-- ARGV  1 cursor, '0' starts  2 incarnation whose tokens are wanted, '' = everybody's
-- Returns {next cursor, token...}; the cursor '0' ends.  A token that is there throughout is named
-- at least once, perhaps twice.
-- Atomic: nothing to keep, it only reads.  HSCAN copies the records inside Redis, so it looks at
-- few fields at first, and at more while what was largest fits 256 KiB; about 200 fields a page.
local owner = ARGV[2] ~= '' and ARGV[2] .. ':'
local found, cursor, looked, bytes, largest, step = {ARGV[1]}, ARGV[1], 0, 0, 1, 2
repeat
  local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', step)
  cursor, looked = page[1], looked + step
  for i = 1, #page[2], 2 do
    local token, size = page[2][i], #page[2][i + 1]
    if not owner or string.sub(token, 1, #owner) == owner then found[#found + 1] = token end
    bytes, largest = bytes + size, math.max(largest, size)
  end
  step = math.max(1, math.min(step * 2, 32, math.floor((262144 - bytes) / largest)))
until cursor == '0' or looked >= 200 or bytes >= 262144
found[1] = cursor
return found

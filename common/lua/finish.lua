-- finish: end a claim together with all that shall happen at its end.
-- KEYS  1 run  2 list  3 dead  4 outbox  5 where the result is kept, if it is
-- ARGV  1 token  2 record for `dead`  3 document for `list`  4, 5 records for `outbox`  6 result
--       7 ms to keep it; '' = not wanted, for 2 to 5
-- Returns 1, or 0 if the token is not in `run` (the claim was lost): then nothing is changed.
-- Atomic: a follow-up is pushed if, and only if, its job ended; all is copied before the token,
-- which is the commit, is consumed.  What belongs to another slot goes to the outbox, for relay.
redis.call('HDEL', KEYS[1], '')
for i = 2, 4 do redis.call('LLEN', KEYS[i]) end
local ms = tonumber(ARGV[7] or '0')
if KEYS[5] and not (ms and ms >= 1 and ms <= 1e15) then
  return redis.error_reply('ERR the time to keep a result is no number of ms')
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local target = {[2] = 3, [3] = 2, [4] = 4, [5] = 4}
for i = 2, 5 do
  if ARGV[i] ~= '' then redis.call('LPUSH', KEYS[target[i]], ARGV[i]) end
end
if KEYS[5] then redis.call('SET', KEYS[5], ARGV[6], 'PX', string.format('%.0f', ms)) end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1

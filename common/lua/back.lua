-- back: give claimed jobs back to the right end of their list, where they are taken next.
-- KEYS  1 run  2 list
-- ARGV  token, record, token, record, ...; record '' = the bytes that lie in `run`
-- Returns how many tokens were in `run`; the others (claims that were lost) change nothing.
-- Atomic: each is copied before its token, which is the commit, is consumed.  Pushed in the order
-- given, so the last one named is taken first.
redis.call('HDEL', KEYS[1], '')
redis.call('LLEN', KEYS[2])
local count = 0
for i = 1, #ARGV, 2 do
  local token, record = ARGV[i], ARGV[i + 1]
  if record == '' then
    record = redis.call('HGET', KEYS[1], token)
  elseif redis.call('HEXISTS', KEYS[1], token) == 0 then
    record = false
  end
  if record then
    redis.call('RPUSH', KEYS[2], record)
    redis.call('HDEL', KEYS[1], token)
    count = count + 1
  end
end
return count

-- relay: bring what an outbox held to its list, in that list's slot, once.
-- KEYS  1 mark that this id was relayed  2 target list
-- ARGV  1 body  2 'LPUSH' (a job) or 'RPUSH' (a reply)  3 s the mark stays
--       4 s the list stays, '0' = for ever
-- Returns 1, or 0 if that id was relayed before: then nothing is changed.
-- Atomic: mark and push, so a relay that is tried again pushes nothing twice.  Marking is the first
-- write: where memory is full it is refused, nothing has happened, the outbox still holds it.
redis.call('LLEN', KEYS[2])
if ARGV[2] ~= 'LPUSH' and ARGV[2] ~= 'RPUSH' then return redis.error_reply('ERR no way to push') end
if not (tonumber(ARGV[3]) and tonumber(ARGV[4])) then return redis.error_reply('ERR no time') end
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[3]) then return 0 end
redis.call(ARGV[2], KEYS[2], ARGV[1])
if ARGV[4] ~= '0' then redis.call('EXPIRE', KEYS[2], ARGV[4]) end
return 1

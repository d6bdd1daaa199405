-- beat: say that a worker lives.
-- KEYS  1 workers
-- ARGV  1 incarnation
-- Returns its counter, one higher than before.
-- Atomic: one step.  The empty removal lets it go on at maxmemory, where a plain HINCRBY is
-- refused and every worker would look dead.
redis.call('HDEL', KEYS[1], '')
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)

-- A machine says that it is there. KEYS: epoch, the replicas; ARGV: 1 holder, 2 ms it counts without a word, 3 a new epoch
-- where there is none. Returns {epoch, replicas}.
redis.call('SET', KEYS[1], ARGV[3], 'NX')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[2], now + 2 * tonumber(ARGV[2]), '+inf')
redis.call('ZADD', KEYS[2], now, ARGV[1])
return {redis.call('GET', KEYS[1]), redis.call('ZCARD', KEYS[2])}

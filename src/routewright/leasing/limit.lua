-- One machine's part of a limit: what it holds is told, what it needs is given as far as there is any.
--
-- KEYS  epoch, the minute's hash, the places' hash
-- ARGV  1 epoch, 2 holder, 3 number of the question, 4 replicas
--       5 the window that has just ended for the holder, 6 ms that the holder's own window goes on
--       7-12  requests: limit (-1: none), held, wanted, the least that is of use, the smallest call, more if there is
--             plenty
--       13-18 tokens: the same
--       19-24 places: the same; 25 ms that they are kept without a word; 26 holders that have ended, with commas
-- Returns {window, ms left of it, {before, given, left} of requests, of tokens, of places}, or {-2} where the server has
-- forgotten what it was told, or {-1} for a question older than one that was answered already.
--
-- Claims are whole amounts, not differences: a question that is asked again, or answered late, counts once.
local epoch, holder, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
local replicas = tonumber(ARGV[4])
if redis.call('GET', KEYS[1]) ~= epoch then return {-2} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local minute, places = KEYS[2], KEYS[3]
local WINDOW_MS = 60000

local function text(value) return string.format('%.0f', value) end

local function share(first, held, total)
  local most, want, least, call, more = tonumber(ARGV[first]), tonumber(ARGV[first + 2]),
    tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4]), tonumber(ARGV[first + 5])
  local left = math.max(0, most - total)
  if left < want then
    -- What is too little for one more call here may be all that a call elsewhere lacks.
    if left < least then return 0, left end
    local given = left - (left - least) % math.max(1, call)
    return given, left - given
  end
  -- Near the end of a limit nothing is given ahead of need, so that no replica sits on what another lacks.
  local given = want + math.max(0, math.min(more, math.floor((left - want) / (4 * replicas))))
  return given, left - given
end

local window, left_ms = 0, 0
local out = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}}
if tonumber(ARGV[7]) >= 0 or tonumber(ARGV[13]) >= 0 then
  left_ms = redis.call('PTTL', minute)
  if left_ms <= 0 then
    redis.call('DEL', minute)
    window = time[1] * 1000000 + time[2]
    left_ms = math.max(1, math.min(WINDOW_MS, tonumber(ARGV[6])))
    redis.call('HSET', minute, 'window', text(window))
    redis.call('PEXPIRE', minute, left_ms)
  else
    window = tonumber(redis.call('HGET', minute, 'window'))
    if left_ms > WINDOW_MS then  -- the server's clock was set back
      left_ms = WINDOW_MS
      redis.call('PEXPIRE', minute, left_ms)
    end
  end
  local function stored(field) return tonumber(redis.call('HGET', minute, field) or 0) end
  if stored('n:' .. holder) >= number then return {-1} end
  redis.call('HSET', minute, 'n:' .. holder, text(number))
  for kind, first in pairs({[1] = 7, [2] = 13}) do
    if tonumber(ARGV[first]) >= 0 then
      local mine, held, before = stored(kind .. ':' .. holder), tonumber(ARGV[first + 1]), 0
      if window == tonumber(ARGV[5]) then  -- it ends here a moment later than there
        before, held = mine, held + mine
      end
      local total = stored(kind) - mine + held
      local given, left = share(first, held, total)
      redis.call('HSET', minute, kind, text(total + given), kind .. ':' .. holder, text(held + given))
      out[kind] = {before, given, left}
    end
  end
end

if tonumber(ARGV[19]) >= 0 then
  local kept_ms = tonumber(ARGV[25])
  for other in string.gmatch(ARGV[26], '[^,]+') do redis.call('HDEL', places, other) end
  local all = redis.call('HGETALL', places)
  local others = 0
  for at = 1, #all, 2 do
    local held, till, last = string.match(all[at + 1], '(%d+):(%d+):(%d+)')
    if all[at] == holder then
      if tonumber(last) >= number then return {-1} end
    elseif tonumber(till) < now or tonumber(till) > now + 2 * kept_ms then
      redis.call('HDEL', places, all[at])
    else
      others = others + tonumber(held)
    end
  end
  local held = tonumber(ARGV[20])
  local given, left = share(19, held, others + held)
  redis.call('HSET', places, holder, text(held + given) .. ':' .. text(now + kept_ms) .. ':' .. text(number))
  redis.call('PEXPIRE', places, 2 * kept_ms)
  out[3] = {0, given, left}
end
return {window, left_ms, out[1], out[2], out[3]}

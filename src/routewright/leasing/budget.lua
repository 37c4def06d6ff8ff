-- One machine's part of a budget in one window; amounts are nano-dollars.
--
-- What is spent is what the ledger told somebody (`b:` and the ledger's name) and what each machine has spent since it
-- was told so (`s:` and its name). What a machine holds for calls that run is `h:`, until `u:`.
--
-- KEYS  epoch, the budget's hash
-- ARGV  1 epoch, 2 holder, 3 number of the question, 4 replicas, 5 the ledger's name, 6 what the ledger told,
--       7 spent since, 8 held, 9 all that the holder knows to be spent, 10 the budget,
--       11 wanted, 12 the least that is of use, 13 the cheapest call, 14 more if there is plenty,
--       15 ms that it is held without a word, 16 ms that the hash is kept, 17 ms after which a silent one is folded in,
--       18 names of holders that have ended, and all of whose spend is in what the ledger told this one; with commas
--       19 ms after which what nobody has told of is in the one ledger; 0 where each machine has its own
-- Returns {spent by all, given, left}, or {-2}, {-1} as limit.lua does.
local epoch, holder, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('GET', KEYS[1]) ~= epoch then return {-2} end
local budget = KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept_ms = tonumber(ARGV[15])

local function text(value) return string.format('%.0f', value) end

local field = {}
local all = redis.call('HGETALL', budget)
for at = 1, #all, 2 do field[all[at]] = all[at + 1] end
local function get(name) return tonumber(field[name] or 0) end
local changed = {}
local function keep(name, value)
  if field[name] ~= value then
    field[name] = value
    changed[#changed + 1] = name
    changed[#changed + 1] = value
  end
end
local function set(name, value) keep(name, text(value)) end

if get('n:' .. holder) >= number then return {-1} end

-- A machine that has been silent for long: what it spent counts as its ledger's, in which it will be found.
local gone = {}
for name, value in pairs(field) do
  if string.sub(name, 1, 2) == 'u:' and tonumber(value) < now - tonumber(ARGV[17]) then
    gone[#gone + 1] = string.sub(name, 3)
  end
end
for other in string.gmatch(ARGV[18], '[^,]+') do
  if field['u:' .. other] then gone[#gone + 1] = other end
end
for _, other in ipairs(gone) do
  if other ~= holder then
    local of_ledger = 'b:' .. (field['l:' .. other] or '')
    set(of_ledger, math.max(get(of_ledger), get('v:' .. other) + get('s:' .. other)))
    for _, letter in ipairs({'n:', 'l:', 'v:', 's:', 'h:', 'u:'}) do
      field[letter .. other] = nil
      redis.call('HDEL', budget, letter .. other)
    end
  end
end

-- What the first to come after the server had lost this hash knew to be spent, and nobody has told of yet. One ledger
-- tells of it to whoever asks; counted beside that for ever it would be missing until the window ends.
local untold_ms = tonumber(ARGV[19])
local function untold()
  if untold_ms > 0 and (now >= get('xt') or get('xt') > now + untold_ms) then return 0 end
  return get('x')
end

local function spent()
  local sum = untold()
  for name, value in pairs(field) do
    local letter = string.sub(name, 1, 2)
    if letter == 'b:' or letter == 's:' then sum = sum + tonumber(value) end
  end
  return sum
end

local is_new, is_first = #all == 0, field['n:' .. holder] == nil
local earlier = spent()
set('n:' .. holder, number)
keep('l:' .. holder, ARGV[5])
set('v:' .. holder, tonumber(ARGV[6]))
set('b:' .. ARGV[5], math.max(get('b:' .. ARGV[5]), tonumber(ARGV[6])))
set('s:' .. holder, tonumber(ARGV[7]))
set('u:' .. holder, now + kept_ms)
if is_new then
  -- The server has lost this hash, and the holder remembers more than it can account for: others' spend, which they
  -- tell of when they come.
  set('x', math.max(0, tonumber(ARGV[9]) - spent()))
  set('xt', now + untold_ms)
elseif is_first and get('x') > 0 then
  set('x', math.max(0, get('x') - math.max(0, spent() - earlier)))
end

local total, held = spent(), tonumber(ARGV[8])
local others = 0
for name, value in pairs(field) do
  if string.sub(name, 1, 2) == 'h:' and string.sub(name, 3) ~= holder then
    local till = get('u:' .. string.sub(name, 3))
    if till >= now and till <= now + 2 * kept_ms then others = others + tonumber(value) end
  end
end
local left = math.max(0, tonumber(ARGV[10]) - total - others - held)
local given, wanted, least = 0, tonumber(ARGV[11]), tonumber(ARGV[12])
if left >= wanted then
  given = wanted + math.min(tonumber(ARGV[14]), math.floor((left - wanted) / (4 * tonumber(ARGV[4]))))
elseif left >= least then
  -- What is too little for one more call here may be all that a call elsewhere lacks.
  given = left - (left - least) % math.max(1, tonumber(ARGV[13]))
end
set('h:' .. holder, held + given)
redis.call('HSET', budget, unpack(changed))  -- all at once; the number of the question has changed in any case
redis.call('PEXPIRE', budget, tonumber(ARGV[16]))
return {total, given, left - given}

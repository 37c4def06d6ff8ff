-- For wrk: posts the bodies in the file BENCH_BODIES, one a line, in turn, and ends with a line of JSON.
-- `@@@@@@@@` in a body becomes a made-up word, another one each time.
local requests = {}
local turn = 0
local places = {}

local function word()
  local letters = {}
  for at = 1, 8 do
    letters[at] = 96 + math.random(26)
  end
  return string.char(unpack(letters))
end

function init(args)
  math.randomseed(tonumber(os.getenv("BENCH_SEED")))
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY") }
  for body in io.lines(os.getenv("BENCH_BODIES")) do
    requests[#requests + 1] = wrk.format("POST", "/v1/chat/completions", headers, body)
    places[#requests] = string.find(requests[#requests], "@@@@@@@@", 1, true)
  end
end

function request()
  turn = turn + 1
  local at = turn % #requests + 1
  local place, text = places[at], requests[at]
  if place then
    return string.sub(text, 1, place - 1) .. word() .. string.sub(text, place + 8)
  end
  return text
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"bytes":%d,"failed":%d,"p50_us":%.1f,"p99_us":%.1f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end

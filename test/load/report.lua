-- Asks for the addresses given after "--" in turn, and says at the end, as one line of JSON, what wrk has counted.
-- Times are in microseconds; "refused" are answers with a status of 400 and above.
local requests, at = {}, 0

function init(args)
  for i, path in ipairs(args) do
    requests[i] = wrk.format("GET", path)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '\n{"answers":%d,"bytes":%d,"micros":%d,"p50":%d,"p99":%d,"most":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.status, e.connect + e.read + e.write + e.timeout))
end

-- Requests for the paths in a file, in turn; or, if there is none, for paths
-- that no request had before, with the tokens in another file if there is that.
-- What was measured is printed as JSON.

local method = os.getenv("WRK_METHOD")
local prefix = os.getenv("WRK_PREFIX")
local size = tonumber(os.getenv("WRK_BODY") or "-1")
local paths = {}
local targets = {}
local at = 0

function init(arguments)
    wrk.method = method
    for name, value in string.gmatch(os.getenv("WRK_HEADERS") or "", "([^:\n]+): ([^\n]+)") do
        wrk.headers[name] = value
    end
    if size >= 0 then
        wrk.body = string.rep("x", size)
    end
    local file = os.getenv("WRK_PATHS")
    if file then
        for line in io.lines(file) do
            paths[#paths + 1] = wrk.format(nil, line)
        end
    end
    file = os.getenv("WRK_TARGETS")
    if file then
        for line in io.lines(file) do
            local begins, token = string.match(line, "([^ ]+) ([^ ]+)")
            local headers = { ["Authorization"] = "Token " .. token }
            for name, value in pairs(wrk.headers) do
                headers[name] = value
            end
            targets[#targets + 1] = { begins, headers }
        end
    end
end

function request()
    at = at + 1
    if #paths > 0 then
        return paths[at % #paths + 1]
    end
    if #targets > 0 then
        local target = targets[at % #targets + 1]
        return wrk.format(nil, target[1] .. prefix .. at, target[2])
    end
    return wrk.format(nil, prefix .. at)
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        '{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d,'
            .. ' "refused": %d, "failed": %d}',
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end

-- The load: a wrk script that plays known visitors and writes down what it sent.
--
-- Run with one wrk thread (-t1), so that one Lua state sees every request and answer:
--   wrk -t1 -c256 -d… -s load.lua URL -- MODE SECONDS SEED VISITORS ARTICLES RECORD
--   MODE    hit | alive | stats
--   SECONDS of load; then it stops sending, waits for every answer that is due, and prints "finished".
--           (-d is only the limit for that; the caller ends wrk with SIGINT after "finished".)
--   RECORD  file for the hits that were sent, one "visitor article" a line
--
-- wrk does not say which connection an answer belongs to. The record is exact all the same when nothing is cut off:
-- every hit sent was answered 2xx <=> every line of the record was acknowledged. Else the caller knows how many were not.

local ffi = require("ffi")
ffi.cdef([[
typedef struct { long sec; long nsec; } load_time;
int clock_gettime(int clock, load_time *t);
]])
local MONOTONIC = 1
local moment = ffi.new("load_time")
local function clock()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.sec) + tonumber(moment.nsec) / 1e9
end

-- One hit in a hundred is delivered twice, as a browser or a proxy that retries does; it must count once.
local REPEAT = 100

local AGENTS = {
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
  "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
  "Mozilla/5.0 (Linux; Android 13; CPH2473; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36 Zalo android/25090678 ZaloTheme/light ZaloLanguage/vi",
  "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
}

-- The headers that Chrome 142 sends with fetch(…, {keepalive: true}) and a text/plain body, seen through a reverse proxy.
local HEADERS = table.concat({
  "Host: bench.example",
  "X-Forwarded-Proto: https",
  'sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
  'sec-ch-ua-platform: "Windows"',
  "sec-ch-ua-mobile: ?0",
  "Accept: */*",
  "Origin: https://bench.example",
  "Sec-Fetch-Site: same-origin",
  "Sec-Fetch-Mode: cors",
  "Sec-Fetch-Dest: empty",
  "Referer: https://bench.example/",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: vi-VN,vi;q=0.9,en;q=0.8",
}, "\r\n")

local mode, seconds, seed, visitors, articles
local until_when = math.huge
local zipf = {} -- zipf[i]: the probability of an article <= i
local last_visitor, last_article, last_number

-- Globals: `done` runs in another Lua state and reads them with thread:get.
record_path = ""
sent_visitors, sent_articles = {}, {}
sent, answered, ok, pending, ignored, other = 0, 0, 0, 0, 0, 0
first_other = ""
began, ended = 0, 0

function setup(thread)
  the_thread = thread
end

function init(args)
  mode, seconds = args[1], tonumber(args[2])
  seed = tonumber(args[3])
  math.randomseed(seed)
  visitors, articles = tonumber(args[4]), tonumber(args[5])
  record_path = args[6]
  local sum = 0
  for i = 1, articles do
    sum = sum + 1 / i
    zipf[i] = sum
  end
  for i = 1, articles do
    zipf[i] = zipf[i] / sum
  end
end

local function article_by_zipf()
  local x = math.random()
  local low, high = 1, articles
  while low < high do
    local middle = math.floor((low + high) / 2)
    if zipf[middle] < x then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function head(method, path, visitor)
  return table.concat({
    method, " /v1/sites/bench/", path, " HTTP/1.1\r\n", HEADERS,
    "\r\nUser-Agent: ", AGENTS[visitor % #AGENTS + 1],
    -- 198.18.0.0/15 is set aside for benchmarks (RFC 2544): public to a parser, nobody's in truth.
    "\r\nX-Forwarded-For: 198.", 18 + math.floor(visitor / 65536) % 2, ".", math.floor(visitor / 256) % 256, ".", visitor % 256,
  })
end

local function post(path, visitor, body)
  return table.concat({
    head("POST", path, visitor), "\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: ", #body, "\r\n\r\n", body,
  })
end

local function visit_id(visitor)
  return string.format("%08x%08x%08x%08x", visitor, visitor * 2654435761 % 4294967296, 3405691582, visitor * 40503 % 4294967296)
end

local function hit()
  if sent % REPEAT ~= 0 then
    last_visitor, last_article, last_number = math.random(1, visitors), article_by_zipf(), sent
  end
  local v, a = last_visitor, last_article
  sent_visitors[sent], sent_articles[sent] = v, a
  return post("hit", v, string.format(
    '{"u":"https://bench.example/vi/news/tin-tuc-su-kien/tin-so-%d.html",'
      .. '"t":"Tin số %d: Sở Thông tin và Truyền thông sơ kết công tác sáu tháng đầu năm",'
      .. '"r":"https://bench.example/vi/news/","v":"%s","h":"%08x%08x%08x%08x",'
      .. '"m":{"author":"Ban Biên tập","category":"Tin tức - Sự kiện","published":"2026-01-05T08:00:00+07:00"}}',
    a, a, visit_id(v), seed, last_number, 2864434397, (last_number * 2654435761) % 4294967296))
end

local function alive()
  local v = math.random(1, visitors)
  return post("alive", v, string.format('{"v":"%s"}', visit_id(v)))
end

local function stats()
  return head("GET", "stats", math.random(1, visitors)) .. "\r\n\r\n"
end

local make = { hit = hit, alive = alive, stats = stats }

local looked_at = false
function request()
  if not looked_at then
    -- wrk asks for one request to look at before it connects, and never sends it.
    looked_at = true
    return stats()
  end
  local now = clock()
  if now >= until_when then
    -- An unfinished head: the server waits for the rest, the connection is quiet.
    return "GET /"
  end
  if sent == 0 then
    began, until_when = now, now + seconds
  end
  sent = sent + 1
  return make[mode]()
end

function response(status, headers, body)
  answered = answered + 1
  if status == 200 then
    ok = ok + 1
    if headers["x-visitstats"] then ignored = ignored + 1 end
  elseif status == 202 then
    pending = pending + 1
  else
    other = other + 1
    if first_other == "" then first_other = status .. " " .. string.sub(body or "", 1, 200) end
  end
  ended = clock()
  if answered == sent and ended >= until_when then
    io.stdout:write("finished\n")
    io.stdout:flush()
    wrk.thread:stop()
  end
end

function done(summary, latency, _)
  local v, a = the_thread:get("sent_visitors"), the_thread:get("sent_articles")
  local file = assert(io.open(the_thread:get("record_path"), "w"))
  for i = 1, #v do
    file:write(v[i], " ", a[i], "\n")
  end
  file:close()
  local function number(name) return tonumber(the_thread:get(name)) end
  local errors = summary.errors
  io.stdout:write(string.format(
    'result {"sent":%d,"answered":%d,"ok":%d,"pending":%d,"ignored":%d,"other":%d,"first_other":%q,"seconds":%.6f,'
      .. '"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"socket_errors":%d}\n',
    number("sent"), number("answered"), number("ok"), number("pending"), number("ignored"), number("other"),
    string.gsub(the_thread:get("first_other"), '[%c"\\]', " "), number("ended") - number("began"),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
    errors.connect + errors.read + errors.write + errors.timeout))
end

-- Requests of the same kind, with the same token, at the same moment share one answer of the service: however many watch
-- a node, or ask in a loop, they cost it about ten answers a second.
--
-- Only for answers that no call changes, so that nobody can miss the effect of what they did, and only for tokens that
-- were verified for this very request. Whether the token was ended since is known to the service alone: that is told
-- by as much later as an answer is kept.

local FRESH_MS = 100
-- So old may an answer be while somebody else's request for a new one is under way.
local KEPT_MS = 200
local MOST = 64

local answers, count, swept_ms = {}, 0, 0

local function now(handle)
  return tonumber(handle:timestampString(EnvoyTimestampResolution.MILLISECOND))
end

local function sweep(now_ms)
  for key, answer in pairs(answers) do
    if now_ms - answer.made_ms >= KEPT_MS or now_ms < answer.made_ms then
      answers[key], count = nil, count - 1
    end
  end
  swept_ms = now_ms
end

function envoy_on_request(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  if not (metadata:get("envoy.filters.http.jwt_authn") or {})["claims"] then
    return
  end
  local headers, now_ms = handle:headers(), now(handle)
  if now_ms - swept_ms >= KEPT_MS or now_ms < swept_ms then
    sweep(now_ms)
  end
  local key = headers:get(":path") .. " " .. headers:get("authorization")
  local answer = answers[key]
  if answer then
    local age_ms = now_ms - answer.made_ms
    if age_ms >= 0 and (age_ms < FRESH_MS or (age_ms < KEPT_MS and now_ms - answer.asked_ms < FRESH_MS)) then
      metadata:set("paradrop", "json", true)
      return handle:respond({[":status"] = "200", ["content-type"] = "application/json"}, answer.body)
    end
    answer.asked_ms = now_ms
  end
  metadata:set("paradrop.shared", "key", key)
end

function envoy_on_response(handle)
  local key = (handle:streamInfo():dynamicMetadata():get("paradrop.shared") or {})["key"]
  if not key or handle:headers():get(":status") ~= "200" then
    return
  end
  -- Waits for all of it.
  local body = handle:body()
  if not body or (not answers[key] and count >= MOST) then
    return
  end
  count = answers[key] and count or count + 1
  answers[key] = {body = body:getBytes(0, body:length()), made_ms = now(handle), asked_ms = 0}
end

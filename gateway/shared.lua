-- Requests of the same kind, with the same token, at the same moment share one answer of the service: however many watch
-- a node, or ask in a loop, they cost it ten answers a second and no more.
--
-- Only for answers that no call changes, so that nobody can miss the effect of what they did, and only for tokens that
-- were verified for this very request. Whether the token was ended since is known to the service alone: that is told
-- by as much later as an answer is kept.

local KEPT_MS = 100
local MOST = 64

local answers, count, begun_ms = {}, 0, 0

function envoy_on_request(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  if not (metadata:get("envoy.filters.http.jwt_authn") or {})["claims"] then
    return
  end
  local now_ms = tonumber(handle:timestampString(EnvoyTimestampResolution.MILLISECOND))
  -- All at once: an answer is never older than that.
  if now_ms - begun_ms >= KEPT_MS or now_ms < begun_ms or count >= MOST then
    answers, count, begun_ms = {}, 0, now_ms
  end
  local headers = handle:headers()
  local key = headers:get(":path") .. " " .. headers:get("authorization")
  local answer = answers[key]
  if answer then
    metadata:set("paradrop", "json", true)
    return handle:respond({[":status"] = "200", ["content-type"] = "application/json"}, answer)
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
  if body and not answers[key] then
    answers[key], count = body:getBytes(0, body:length()), count + 1
  end
end

-- Runs for requests with a password alone. Did the auth service turn the same password, from the same address, into a
-- token a moment ago? Then that token takes its place at once, and is verified like any other: one that has ended
-- since, because the password was changed, is refused by the service that it reaches.
--
-- Only for requests that alter nothing: others may be the change of this very password.

local KEPT_S = 2
local MOST = 64
local SAFE_METHODS = {GET = true, HEAD = true}

local known, count, begun_s = {}, 0, 0

local function forget(key)
  if known[key] then
    known[key], count = nil, count - 1
  end
end

function envoy_on_request(handle)
  local now_s = os.time()
  -- All at once: while there are requests, no password stays here for longer.
  if now_s - begun_s >= KEPT_S or now_s < begun_s or count >= MOST then
    known, count, begun_s = {}, 0, now_s
  end
  local headers, info = handle:headers(), handle:streamInfo()
  local address = info:downstreamRemoteAddress():gsub(":%d+$", "")
  local key = address .. " " .. headers:get("authorization")
  if not SAFE_METHODS[headers:get(":method")] then
    return forget(key)
  end
  if known[key] then
    headers:replace("authorization", known[key])
  end
  info:dynamicMetadata():set("paradrop.basic", "key", key)
end

function envoy_on_response(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local key = (metadata:get("paradrop.basic") or {})["key"]
  if not key then
    return
  end
  if handle:headers():get(":status") == "401" then
    return forget(key)
  end
  local token = (metadata:get("envoy.filters.http.ext_authz") or {})["authorization"]
  if token and not known[key] then
    known[key], count = token, count + 1
  end
end

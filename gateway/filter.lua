-- What the transcoder leaves to do for /api/v1. Before it stand ORIGINS, the pages of elsewhere that may act, and errors.lua.
-- The route's metadata says what applies to the call:
--   kind    "call", "stream", "upload", "download" or "login"
--   query   query parameters that may be given; all others are dropped, so that none can stand in for a part of
--           the path or of the body
--   keys    keys that the body may have; absent if it may have any
--   body    whether the call takes a JSON body
--   renamed keys of the body to the fields that they are read as; absent if there are none
--   flat    whether no list may have lists or null in it
--   shape   "object" or "array" if the body must be one
--   unwrap  key of the reply whose value is the whole answer

local JSON_TYPES = {
  [""] = true,
  ["application/json"] = true,
  ["text/json"] = true,
  -- What curl -d sends; the original looked at no content type at all.
  ["application/x-www-form-urlencoded"] = true,
}
local SHAPES = {object = "^%s*{", array = "^%s*%["}
-- A level of a free document is three of the message it becomes, and readers of messages take a hundred.
local MAX_DEPTH = 30
local SAFE_METHODS = {GET = true, HEAD = true, OPTIONS = true}
local BODY_COMPLETES = {["400"] = true, ["401"] = true, ["429"] = true, ["503"] = true}
local GRPC_HEADERS = {"grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding"}
local CODES = {["400"] = 3, ["403"] = 7, ["415"] = 3, ["500"] = 13}

local function refuse(handle, status, reason, message, field)
  handle:streamInfo():dynamicMetadata():set("paradrop", "json", true)
  handle:respond(
    {[":status"] = status, ["content-type"] = "application/json"},
    error_json(CODES[status], reason, message, field)
  )
end

-- A page of another origin must not act with credentials that the browser remembers.
local function foreign(headers)
  local origin = headers:get("origin")
  if not origin or SAFE_METHODS[headers:get(":method")] then
    return false
  end
  local host = origin:match("^https?://(.+)$")
  return not ORIGINS[origin] and not (host and host:lower() == (headers:get(":authority") or ""):lower())
end

local UTF8 = {
  "[\194-\223][\128-\191]",
  "\224[\160-\191][\128-\191]",
  "[\225-\236\238\239][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]",
  "\240[\144-\191][\128-\191][\128-\191]",
  "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]",
}

-- A service cannot read a message with anything else.
local function is_utf8(text)
  for _, sequence in ipairs(UTF8) do
    if not text:find("[\128-\255]") then
      break
    end
    text = text:gsub(sequence, " ")
  end
  return not text:find("[\128-\255]")
end

local function unescaped(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function clean_path(route, headers)
  local path = headers:get(":path")
  if not path:find("[?%%\128-\255]") then
    if path:sub(-1) == "/" then
      headers:replace(":path", path:sub(1, -2))
    end
    return true
  end
  local bare, query = path:match("^([^?]*)%??(.*)$")
  bare = bare:gsub("/$", "")
  local kept = {}
  if query ~= "" then
    local allowed = {}
    for _, name in ipairs(route:get("query") or {}) do
      allowed[name] = true
    end
    for parameter in query:gmatch("[^&]+") do
      if allowed[parameter:match("^[^=]*")] then
        kept[#kept + 1] = parameter
      end
    end
  end
  local wanted = #kept == 0 and bare or bare .. "?" .. table.concat(kept, "&")
  if wanted ~= path then
    headers:replace(":path", wanted)
  end
  return is_utf8(unescaped(wanted))
end

-- Returns the keys of the outermost object, where they are, how deep the text is nested and whether a list or null is
-- within a list; nil if it cannot be JSON. What the values are is the business of the transcoder, which is less strict:
-- it takes keys without quotes and in single ones, makes one list of lists within a list, and forgets null there.
local function scan(text)
  local keys, places, depth, deepest, position, key_next = {}, {}, 0, 0, 1, false
  local open, nested = {}, false
  while true do
    local at, _, token = text:find("([{}%[%],:\"'])", position)
    if not at then
      return depth == 0 and keys or nil, places, deepest, nested
    end
    if token == "'" or (token == ":" and depth == 1 and key_next) or (depth == 0 and deepest > 0) then
      return nil
    end
    position = at + 1
    if token == '"' then
      local closing = at
      repeat
        closing = text:find('["\\]', closing + 1)
        local escape = closing and text:byte(closing) == 92
        closing = escape and closing + 1 or closing
      until not closing or not escape
      if not closing then
        return nil
      end
      if depth == 1 and key_next then
        keys[#keys + 1], places[#places + 1] = text:sub(at + 1, closing - 1), at
        key_next = false
      end
      position = closing + 1
    elseif token == "{" or token == "[" then
      nested = nested or (token == "[" and open[depth] == "[")
      depth = depth + 1
      open[depth] = token
      deepest = math.max(deepest, depth)
      key_next = depth == 1 and token == "{"
    elseif token == "}" or token == "]" then
      depth = depth - 1
    elseif token == "," then
      key_next = depth == 1
    end
    if (token == "[" or token == ",") and open[depth] == "[" then
      nested = nested or text:find("^%s*null", position) ~= nil
    end
  end
end

local function unknown_key(keys, allowed)
  local known = {}
  for _, name in ipairs(allowed) do
    known[name] = true
  end
  for _, key in ipairs(keys) do
    if not known[key] then
      return key
    end
  end
end

local function renamed(text, keys, places, names)
  for index = #keys, 1, -1 do
    local key, at = keys[index], places[index]
    if names[key] then
      text = text:sub(1, at) .. names[key] .. text:sub(at + 1 + #key)
    end
  end
  return text
end

local function check_body(handle, route, headers)
  local content_type = (headers:get("content-type") or ""):match("^%s*([^;%s]*)"):lower()
  local allowed, names, flat = route:get("keys"), route:get("renamed"), route:get("flat")
  local kind, shape = route:get("kind"), route:get("shape")
  -- Waits for all of it, or answers 413. Other objects of before are no longer valid then.
  local body = handle:body()
  if not body then
    if shape == "array" then
      refuse(handle, "400", "JSON_INVALID", "The body must be one JSON array.")
    end
    return
  end
  local text = body:getBytes(0, body:length())
  local is_tar = text:sub(258, 262) == "ustar"
  if is_tar or not JSON_TYPES[content_type] and not content_type:find("+json", 1, true) then
    local advice = is_tar and "a tar is sent with content type application/x-tar." or "send content type application/json."
    return refuse(handle, "415", "CONTENT_TYPE_NOT_SUPPORTED", "The body must be JSON; " .. advice)
  end
  if not is_utf8(text) then
    return refuse(handle, "400", "JSON_INVALID", "The body must be JSON in UTF-8.")
  end
  local keys, places, depth, nested = scan(text)
  -- The transcoder leaves a call open whose body has another shape.
  if not keys or (SHAPES[shape] and not text:find(SHAPES[shape])) then
    local wanted = SHAPES[shape] and "one JSON " .. shape or "JSON"
    return refuse(handle, "400", "JSON_INVALID", "The body must be " .. wanted .. ".")
  end
  if depth > MAX_DEPTH then
    return refuse(handle, "400", "JSON_TOO_DEEP", "The body may be nested " .. MAX_DEPTH .. " levels deep.")
  end
  if nested and flat then
    return refuse(handle, "400", "JSON_INVALID", "No list in the body may have lists or null in it.")
  end
  local unknown = allowed and unknown_key(keys, allowed)
  if unknown then
    return refuse(handle, "400", "FIELD_UNKNOWN", "The body may not have the field '" .. unknown .. "'.", unknown)
  end
  if names then
    body:setBytes(renamed(text, keys, places, names))
  end
  if kind == "login" then
    local username = text:match('"username"%s*:%s*("[^"\\%c]*")') or '"paradrop"'
    handle:streamInfo():dynamicMetadata():set("paradrop", "username", username)
  end
end

local function on_request(handle)
  local headers = handle:headers()
  if foreign(headers) then
    return refuse(
      handle, "403", "ORIGIN_NOT_ALLOWED", "Pages of this origin may not use the node; see PARADROP_CORS_ORIGINS."
    )
  end
  local route = handle:metadata()
  if not route:get("kind") then
    return
  end
  if (headers:get("content-type") or ""):find("^application/grpc") then
    return refuse(handle, "415", "CONTENT_TYPE_NOT_SUPPORTED", "This path takes JSON; gRPC has paths of its own.")
  end
  if not clean_path(route, headers) then
    return refuse(handle, "400", "PATH_INVALID", "The path must be text in UTF-8.")
  end
  if headers:get(":method") == "HEAD" then
    handle:streamInfo():dynamicMetadata():set("paradrop", "head", true)
    headers:replace(":method", "GET")
  end
  if route:get("body") then
    check_body(handle, route, headers)
  elseif route:get("kind") ~= "upload" then
    -- Else the transcoder would read it as the request.
    local body = handle:body()
    if body then
      body:setBytes("")
    end
  end
end

function envoy_on_request(handle)
  -- Envoy lets a request pass when a script fails.
  local done, problem = pcall(on_request, handle)
  if not done then
    handle:logErr(problem)
    refuse(handle, "500", "GATEWAY_ERROR", "The gateway could not check the request.")
  end
end

-- The value in {"key":value}; a message that is not set leaves {}.
local function cut_out(text, key)
  local opening = '{"' .. key .. '":'
  return text:sub(1, #opening) == opening and text:sub(#opening + 1, -2) or text
end

function envoy_on_response(handle)
  local headers, route = handle:headers(), handle:metadata()
  local status, kind, unwrap = headers:get(":status"), route:get("kind"), route:get("unwrap")
  local names = route:get("renamed")
  if status == "401" and kind ~= "login" and not headers:get("grpc-status") then
    headers:replace("www-authenticate", 'Basic realm="Login Required"')
  end
  if not kind or headers:get("content-type") == "application/grpc" then
    return
  end
  for _, name in ipairs(GRPC_HEADERS) do
    headers:remove(name)
  end
  local head = (handle:streamInfo():dynamicMetadata():get("paradrop") or {})["head"]
  local failed = status ~= "200"
  if not head and not (failed and BODY_COMPLETES[status]) and not (unwrap and not failed) then
    return
  end
  -- Objects of before are no longer valid after this.
  local body = handle:body()
  if not body then
    return
  end
  local text = body:getBytes(0, body:length())
  local wanted = failed and complete_error(handle, text, status, kind, names) or unwrap and cut_out(text, unwrap) or text
  if head or wanted ~= text then
    body:setBytes(head and "" or wanted)
    handle:headers():replace("content-length", #wanted)
  end
end

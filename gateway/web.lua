-- Stands between the node and the pages of chutes, which are programs of others. The route's metadata has the prefix
-- that the gateway took off the path: "/chutes/NAME", or "" where the chute has a host name of its own.

-- Below a path the pages of a chute have the origin of the node's own, and a browser would let their scripts use what
-- it remembers of the node. So they may speak to what is below their path, and to other machines, but not to the rest
-- of the node; nor may they open windows or frames of it.
local POLICY = "sandbox allow-downloads allow-forms allow-modals allow-orientation-lock allow-pointer-lock "
  .. "allow-presentation allow-same-origin allow-scripts; connect-src %s blob: data:%s; frame-src %s blob: data:%s; "
  .. "worker-src %s blob:; form-action %s; base-uri %s; object-src 'none'"
local NO_HOST_POLICY = "sandbox"

local function policy(shared, prefix)
  local host = shared["authority"] or ""
  if not host:find("^[%w.:%[%]-]+$") then
    return NO_HOST_POLICY
  end
  local tls = shared["scheme"] == "https"
  local own = (tls and "https://" or "http://") .. host .. prefix .. "/"
  local socket = (tls and "wss://" or "ws://") .. host .. prefix .. "/"
  -- A policy cannot name all machines but one; with TLS it would name the node as well.
  local others = tls and "" or " https: wss:"
  return POLICY:format(own .. " " .. socket, others, own, tls and "" or " https:", own, own, own)
end

-- Keeps cookies of the node itself away from chutes.
local function without_our_cookies(text)
  local kept = {}
  for cookie in text:gmatch("[^;]+") do
    local trimmed = cookie:match("^%s*(.-)%s*$")
    if trimmed ~= "" and not trimmed:lower():find("^paradrop") then
      kept[#kept + 1] = trimmed
    end
  end
  return table.concat(kept, "; ")
end

function envoy_on_request(handle)
  local headers, prefix = handle:headers(), handle:metadata():get("prefix")
  headers:remove("authorization")
  headers:remove("proxy-authorization")
  local cookies = headers:get("cookie")
  if cookies then
    local kept = without_our_cookies(cookies)
    if kept == "" then
      headers:remove("cookie")
    elseif kept ~= cookies then
      headers:replace("cookie", kept)
    end
  end
  if not prefix or prefix == "" then
    return
  end
  local shared = handle:streamInfo():dynamicMetadata()
  shared:set("paradrop", "authority", headers:get(":authority") or "")
  shared:set("paradrop", "scheme", headers:get("x-forwarded-proto") or "")
  shared:set("paradrop", "path", headers:get(":path"):match("^[^?#]*"))
end

-- A cookie of one chute is not for the others.
local function confined(cookie, prefix)
  local parts, path = {}, "/"
  for part in cookie:gmatch("[^;]+") do
    local name, value = part:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    name = (name or ""):lower()
    if #parts > 0 and name == "path" then
      path = value:sub(1, 1) == "/" and value or "/"
    elseif not (#parts > 0 and name == "domain") then
      parts[#parts + 1] = part:match("^%s*(.-)%s*$")
    end
  end
  parts[#parts + 1] = "Path=" .. prefix .. path
  return table.concat(parts, "; ")
end

local function confine_cookies(headers, prefix)
  local cookies = {}
  for index = 0, headers:getNumValues("set-cookie") - 1 do
    cookies[#cookies + 1] = headers:getAtIndex("set-cookie", index)
  end
  headers:remove("set-cookie")
  for _, cookie in ipairs(cookies) do
    headers:add("set-cookie", confined(cookie, prefix))
  end
end

-- Resolves dots as a browser will.
local function without_dots(path)
  local tail, kept, slash = path:match("[?#].*$") or "", {}, ""
  for part in path:gsub("[?#].*$", ""):gmatch("/([^/]*)") do
    local plain = part:lower():gsub("%%2e", ".")
    slash = ""
    if plain == ".." then
      kept[#kept], slash = nil, "/"
    elseif plain == "." then
      slash = "/"
    else
      kept[#kept + 1] = part
    end
  end
  local joined = "/" .. table.concat(kept, "/")
  return (joined == "/" and joined or joined .. slash) .. tail
end

-- What a chute takes for its own root lies below the prefix, and no redirect leads from there to the rest of the node.
local function relocated(said, prefix, authority, path)
  local location = said:gsub("[%c ]", ""):gsub("\\", "/")
  local scheme, rest = location:match("^(%a[%w+.-]*:)(.*)$")
  rest = rest or location
  local host, below = rest:match("^//+([^/?#]*)(.*)$")
  if host then
    if host:lower() ~= authority:lower() then
      return said
    end
    rest = below == "" and "/" or below
  elseif scheme then
    if not scheme:lower():find("^https?:$") then
      return said
    end
    -- "http:path" is taken for a path by browsers if the scheme is that of the page.
    return prefix .. "/"
  end
  local origin = host and (scheme or "") .. "//" .. host or ""
  if rest:sub(1, 1) == "?" or rest:sub(1, 1) == "#" or rest == "" then
    return origin .. (host and prefix .. "/" or "") .. rest
  end
  if rest:sub(1, 1) ~= "/" then
    local resolved = without_dots(path:match("^.*/") .. rest)
    return resolved:sub(1, #prefix + 1) == prefix .. "/" and resolved or prefix .. "/"
  end
  local plain = without_dots(rest)
  return origin .. (plain:sub(1, #prefix + 1) == prefix .. "/" and plain or prefix .. plain)
end

function envoy_on_response(handle)
  local headers, prefix = handle:headers(), handle:metadata():get("prefix")
  if not prefix or prefix == "" then
    return
  end
  local shared = handle:streamInfo():dynamicMetadata():get("paradrop") or {}
  if headers:get("set-cookie") then
    confine_cookies(headers, prefix)
  end
  local location = headers:get("location")
  if location then
    headers:replace(
      "location", relocated(location, prefix, shared["authority"] or "", shared["path"] or prefix .. "/")
    )
  end
  headers:add("content-security-policy", policy(shared, prefix))
  -- Each of them would reach beyond the path.
  headers:remove("service-worker-allowed")
  headers:remove("clear-site-data")
  headers:remove("strict-transport-security")
end

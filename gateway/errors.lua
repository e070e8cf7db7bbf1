-- Errors of the gateway in the one JSON form of the node; part of filter.lua.

local TYPES = {
  TYPE_STRING = "a text",
  TYPE_BOOL = "true or false",
  TYPE_DOUBLE = "a number",
  ["google.protobuf.Struct"] = "an object",
  ["google.protobuf.Timestamp"] = "a time such as 2026-01-31T12:00:00Z",
}

local function quoted(text)
  return '"' .. text:gsub('[%c"\\\127-\255]', function(char) return ("\\u%04x"):format(char:byte()) end) .. '"'
end

local function error_json(code, reason, message, field)
  local metadata, violation = "{}", ""
  if field then
    metadata = '{"field":' .. quoted(field) .. "}"
    violation = ',{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":'
      .. quoted(field) .. ',"description":' .. quoted(message) .. "}]}"
  end
  return ('{"code":%d,"message":%s,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
    .. '"reason":"%s","domain":"paradrop","metadata":%s}%s]}'):format(code, quoted(message), reason, metadata, violation)
end

local function wanted_type(name)
  local message = name:match("^type%.googleapis%.com/(.*)$")
  if message then
    return TYPES[message] or "one of the values of " .. message .. ", see /reference"
  end
  return TYPES[name] or "a whole number"
end

-- The transcoder says what is wrong in the words of its parser, and shows the value, which may be a secret.
local function explained(text, names)
  local field, said, name = text:match('"message":"([%w_.%[%]]*): invalid value (.*) for type ([%w_./]+)"}%s*$')
  if not field then
    return text:find("cannot start list", 1, true)
      and error_json(3, "REQUEST_INVALID", "A value of the body is a list where none may be.") or text
  end
  if said:find("Starting an object", 1, true) then
    return error_json(3, "REQUEST_INVALID", name .. " may not be an object.", name)
  end
  for key, renamed_to in pairs(names or {}) do
    field = field == renamed_to and key or field
  end
  return field == "" and text
    or error_json(3, "REQUEST_INVALID", field .. " must be " .. wanted_type(name) .. ".", field)
end

local function complete_error(handle, text, status, kind, names)
  if status == "400" then
    -- FAILED_PRECONDITION: nothing is wrong with the request, it does not go with what is there now.
    if text:find('^{"code": ?9%D') then
      handle:headers():replace(":status", "409")
    end
    return text:find('"REQUEST_INVALID"', 1, true) and explained(text, names) or text
  end
  local delay = text:match('"retryDelay":%s*"(%d+)')
  if delay then
    handle:headers():replace("retry-after", delay)
  end
  -- gRPC knows one code for what is too much, what is too large, and a full disk.
  if text:find('"UPLOAD_TOO_LARGE"', 1, true) or text:find("Received message larger than max", 1, true) then
    handle:headers():replace(":status", "413")
  elseif text:find('"DISK_FULL"', 1, true) then
    handle:headers():replace(":status", "507")
  elseif kind == "login" and status == "401" and text:sub(1, 1) == "{" then
    local username = (handle:streamInfo():dynamicMetadata():get("paradrop") or {})["username"] or '"paradrop"'
    return '{"username":' .. username .. ',"success":false,' .. text:sub(2)
  end
  return text
end

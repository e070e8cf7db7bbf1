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

"""What hostapd says on its control socket, read."""

import re


def parse(reply: str) -> dict[str, str]:
    """Reads a reply as the interface of old does: "key=value" lines, or else the whole text as "message"."""
    if "=" not in reply:
        return {"message": reply.rstrip()}
    pairs = (line.split("=", 1) for line in reply.splitlines() if "=" in line)
    return {key: _unescaped(value) if key.startswith("ssid") else value for key, value in pairs}


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"e": b"\x1b"}


def _unescaped(value: str) -> str:
    """Returns an SSID as it is: hostapd writes what is not ASCII, quotes and backslashes with a backslash."""

    def byte(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code[1:], 16)]) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(byte, value.encode()).decode(errors="replace")

"""A chute with pages, a stream and a WebSocket, that needs no more than busybox."""

from tests.support.engine import BUSYBOX, chute_tar

SERVER = r"""#!/bin/sh
# One HTTP connection on standard input and output.
CR=$(printf '\r')
read -r method path _
request=""; length=0; key=""
while read -r line && [ "$line" != "$CR" ] && [ -n "$line" ]; do
    line=${line%"$CR"}; request="$request$line
"
    case "$(echo "$line" | tr A-Z a-z)" in
        content-length:*) length=${line#*: } ;;
        sec-websocket-key:*) key=${line#*: } ;;
    esac
done
status() { printf 'HTTP/1.1 %s\r\nConnection: close\r\n' "$1"; }
text() { status "200 OK"; printf 'Content-Type: %s\r\n\r\n' "$1"; }
byte() { printf '%d' "0x$(dd bs=1 count=1 2>/dev/null | xxd -p)"; }
case "$path" in
/) text text/html; cat /page.html ;;
/data) text application/json; echo '{"answer": 42}' ;;
/request*) text text/plain; echo "$method $path"; printf '%s' "$request" ;;
/upload) received=$(head -c "$length" | wc -c); text text/plain; echo "$received" ;;
/login)
    status "302 Found"
    printf 'Location: /data\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\nSet-Cookie: b=2; Domain=x.org\r\n\r\n' ;;
/stream)
    status "200 OK"; printf 'Transfer-Encoding: chunked\r\n\r\n'
    for i in 1 2 3; do printf '6\r\npart %s\r\n' "$i"; sleep 0.5; done; printf '0\r\n\r\n' ;;
/ws)
    hash=$(printf '%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11' "$key" | sha1sum | cut -d' ' -f1)
    accept=$(echo "$hash" | xxd -r -p | base64)
    printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    printf 'Sec-WebSocket-Accept: %s\r\n\r\n\201\005hello' "$accept"
    while :; do  # Answers each short text frame with its own text.
        [ "$(byte)" = 129 ] || exit
        size=$(( $(byte) - 128 )); set -- $(byte) $(byte) $(byte) $(byte); text=""; i=0
        while [ $i -lt $size ]; do
            eval "mask=\$$(( i % 4 + 1 ))"; text="$text\\$(printf '%03o' $(( $(byte) ^ mask )))"; i=$((i + 1))
        done
        printf '\201%b%b' "\\$(printf '%03o' $size)" "$text"
    done ;;
*) status "404 Not Found"; printf '\r\nnothing at %s\n' "$path" ;;
esac
"""
PAGE = """<!doctype html><title>A chute</title><h1>Hello from a chute</h1><p id="answer">waiting</p>
<script>
const show = text => { document.getElementById("answer").textContent = text };
fetch("data").then(reply => reply.json()).then(data => show("answer " + data.answer));
fetch("/api/v1/chutes/").then(() => { document.title = "stolen" }, () => { document.title = "kept out" });
</script>
"""


def web_chute(name: str, *, access: str | None = None, command: str | None = None) -> bytes:
    """Returns the tar of a chute whose service listens on port 80."""
    listed = f", access: {access}" if access else ""
    return chute_tar(
        {
            "paradrop.yaml": f"name: {name}\nservices:\n  main:\n    type: normal\n"
            f"web: {{service: main, port: 80{listed}}}\n",
            "Dockerfile": f"FROM {BUSYBOX}\nCOPY serve page.html /\nRUN chmod +x /serve\n"
            f"CMD {command or 'exec nc -ll -p 80 -e /serve'}\n",
            "serve": SERVER,
            "page.html": PAGE,
        }
    )

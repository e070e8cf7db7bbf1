"""Requests per second of the chute list beside a Klein server that answers it in the original's way."""

import base64

from benchmarks.baseline import klein_node
from benchmarks.support import PASSWORD, Load, Node, running_baseline, running_node, table, tiny_chute, wrk

CONNECTIONS = (1, 16, 64)
RUNNING_CHUTES = 10
DURATION_S = 3
ROUNDS = 3


def main() -> None:
    """Measures the empty list and the list of ten running chutes, with a token and with a password."""
    with running_node() as node:
        _compare(node, [], "Chute list, nothing installed")
        chutes = [f"bench-{number}" for number in range(RUNNING_CHUTES)]
        try:
            for chute in chutes:
                answer = node.call("POST", "/chutes/", tiny_chute(chute), "application/x-tar")
                node.finish(answer["change_id"])
            _compare(node, chutes, f"Chute list, {RUNNING_CHUTES} running chutes")
        finally:
            for installed in node.call("GET", "/chutes/"):
                node.finish(node.call("DELETE", f"/chutes/{installed['name']}")["change_id"])


def _compare(node: Node, chutes: list[str], title: str) -> None:
    basic = "Basic " + base64.b64encode(f"paradrop:{PASSWORD}".encode()).decode()
    rows = []
    with running_baseline(chutes) as port:
        for kind, ours, theirs in (
            ("Bearer", f"Bearer {node.token}", f"Bearer {klein_node.token()}"),
            ("Basic", basic, basic),
        ):
            for connections in CONNECTIONS:
                baseline, paradrop = alternating(
                    (f"http://127.0.0.1:{port}/api/v1/chutes/", theirs),
                    (f"{node.url}/chutes/", ours),
                    connections,
                )
                rows.append(
                    [
                        kind,
                        str(connections),
                        *(cells(baseline)),
                        *(cells(paradrop)),
                        f"**{paradrop.requests_per_s / baseline.requests_per_s:.2f}**",
                    ]
                )
    columns = ["req/s", "p50 ms", "p99 ms"]
    header = [
        "login",
        "connections",
        *(f"Klein {c}" for c in columns),
        *(f"Paradrop {c}" for c in columns),
        "ratio",
    ]
    table(title, header, rows)


def alternating(first: tuple[str, str], second: tuple[str, str], connections: int) -> tuple[Load, Load]:
    """Measures both in turn and returns each one's median round, so that noise hits both alike."""
    rounds: tuple[list[Load], list[Load]] = ([], [])
    for _ in range(ROUNDS):
        for (url, authorization), loads in zip((first, second), rounds, strict=True):
            loads.append(wrk(url, {"Authorization": authorization}, connections, DURATION_S))
    medians = [sorted(loads, key=lambda load: load.requests_per_s)[ROUNDS // 2] for loads in rounds]
    return medians[0], medians[1]


def cells(load: Load) -> list[str]:
    """Returns what a table shows of a measurement."""
    return [f"{load.requests_per_s:.0f}", f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}"]

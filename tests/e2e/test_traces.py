"""Traces of a whole node, as a collector gets them."""

import secrets
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from websockets.sync.client import connect

from tests.fakes.collector import Collector, Span, running_collector
from tests.support.node import NodeProcess

pytestmark = pytest.mark.e2e

NODE = "paradrop.node.v1.NodeService"
CHUTES = "paradrop.chutes.v1.ChuteService"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def node(
    engine: docker.DockerClient, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    node = NodeProcess(
        tmp_path_factory.mktemp("traced") / "home", environment={"PARADROP_OTLP_ENDPOINT": collector.address}
    )
    node.start()
    node.login()
    yield node
    assert node.stop() == 0


def lineage(spans: list[Span], span: Span) -> list[Span]:
    """Returns a span and those above it that the collector has."""
    by_id = {found.span_id: found for found in spans}
    line = [span]
    while line[-1].parent_id in by_id:
        line.append(by_id[line[-1].parent_id])
    return line


def whole(collector: Collector, trace_id: str, name: str, root_id: str) -> list[Span]:
    """Waits for a span of a trace from which every parent is known, up to the client's own."""

    def check(spans: list[Span]) -> Any:
        for span in spans:
            if span.trace_id == trace_id and span.name == name:
                line = lineage(spans, span)
                if line[-1].parent_id == root_id:
                    return line
        return None

    found: list[Span] = collector.until(check)
    return found


def test_a_trace_goes_from_the_gateway_through_a_service_into_the_next(
    node: NodeProcess, collector: Collector
) -> None:
    trace_id, root_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{root_id}-01"}
    assert node.request("GET", "/api/v1/info/telemetry", headers=headers).status == 200
    own = whole(collector, trace_id, f"{NODE}/GetTelemetry", root_id)
    assert [span.service for span in own] == ["paradrop", "paradrop-gateway"]
    further = whole(collector, trace_id, f"{CHUTES}/ListChutes", root_id)
    assert f"{NODE}/GetTelemetry" in [span.name for span in further]


def test_the_bridge_is_part_of_a_trace(node: NodeProcess, collector: Collector) -> None:
    trace_id, root_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{root_id}-01", "authorization": f"Bearer {node.token}"}
    with connect(f"ws://{node.target}/ws/paradrop_logs", additional_headers=headers):
        pass  # The spans end with the connection.
    line = whole(collector, trace_id, f"{NODE}/StreamLogs", root_id)
    assert [span.name for span in line][:2] == [f"{NODE}/StreamLogs", "bridge websocket"]
    assert line[-1].service == "paradrop-gateway"


def test_a_refused_call_is_a_failed_span_without_secrets(node: NodeProcess, collector: Collector) -> None:
    trace_id, root_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{root_id}-01"}
    assert node.request("GET", "/api/v1/chutes/nobody", headers=headers).status == 404
    line = whole(collector, trace_id, f"{CHUTES}/GetChute", root_id)
    assert line[0].failed
    assert not any(node.token in span.text for span in collector.spans)
    assert not any("There is no chute" in span.text for span in collector.spans)


def test_whoever_sends_no_traceparent_gets_a_trace_of_the_gateway(
    node: NodeProcess, collector: Collector
) -> None:
    assert node.request("GET", "/api/v1/info/features").status == 200
    collector.until(lambda spans: [s for s in spans if s.service == "paradrop-gateway" and not s.parent_id])

"""One endpoint for Prometheus, put together from all services."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.conftest import Gateway, basic

pytestmark = pytest.mark.gateway

SERVICES = {"auth", "network", "airshark", "chutes", "node"}


def read(gateway: Gateway, **options) -> dict:
    answer = gateway.request("GET", "/metrics", **options)
    assert answer.status == 200, answer
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def test_calls_of_all_services_are_counted(gateway: Gateway) -> None:
    def calls() -> float:
        return sum(
            sample.value
            for sample in read(gateway)["paradrop_rpc_calls"].samples
            if sample.labels["method"] == "GetSoftware"
            and sample.labels["code"] == "OK"
            and sample.labels["part"] == "node"
        )

    before = calls()
    for _ in range(3):
        gateway.request("GET", "/api/v1/info/software")
    assert calls() == before + 3
    families = read(gateway)
    assert {sample.labels["part"] for sample in families["paradrop_up"].samples} == SERVICES
    assert {sample.value for sample in families["paradrop_up"].samples} == {1.0}
    durations = families["paradrop_rpc_duration_seconds"].samples
    mine = [s for s in durations if s.labels["method"] == "GetSoftware" and s.labels["part"] == "node"]
    assert next(s.value for s in mine if s.name.endswith("_count")) == before + 3
    assert next(s.value for s in mine if s.labels.get("le") == "+Inf") == before + 3
    # All services are in this process, which is told of once.
    assert len(families["paradrop_process_resident_memory_bytes"].samples) == 1


def test_no_sample_comes_twice(gateway: Gateway) -> None:
    body = gateway.request("GET", "/metrics").body.decode()
    samples = [line.rpartition(" ")[0] for line in body.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples))
    assert all(re.match(r"paradrop_[a-z_]+(\{.*\})?$", sample) for sample in samples)


def test_a_password_is_enough_and_nothing_is_not(gateway: Gateway) -> None:
    assert "paradrop_up" in read(gateway, token=False, headers=basic())
    assert gateway.request("GET", "/metrics", token=False).status == 401
    guest = {"authorization": f"Bearer {gateway.doubles.keys.token('guest')}"}
    assert gateway.request("GET", "/metrics", headers=guest, token=False).status == 403


def test_openmetrics_is_spoken_on_request(gateway: Gateway) -> None:
    answer = gateway.request(
        "GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")

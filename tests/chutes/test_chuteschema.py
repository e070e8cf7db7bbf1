"""The published schema is what is applied, and every mistake is told with its place and a way out."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from services.chutes.domain.chutefile import parse_chute_file
from services.chutes.domain.chuteschema import SCHEMA, violations
from services.common.errors import InvalidArgument
from services.common.statuses import to_proto
from tests.chutes.test_chutefile import NEW_FORM, OLD_FORM

REFERENCE = Draft202012Validator(SCHEMA)

FULL: dict[str, Any] = {
    "name": "full",
    "description": "Has everything.",
    "version": "1.0",
    "owner": "alice",
    "environment": {"A": "b", "N": 1, "T": True, "E": None},
    "download": {"url": "https://example.org/x.git", "checkout": "main", "user": "a", "secret": "b"},
    "services": {
        "main": {
            "name": "main",
            "type": "light",
            "source": "src",
            "image": "python",
            "command": ["a", 1],
            "dockerfile": None,
            "build": {"packages": ["curl"], "image_source": "python", "image_version": 3.12},
            "environment": {"B": "c"},
            "interfaces": {
                "wlan0": {
                    "type": "wifi-ap",
                    "intfName": "wlan0",
                    "dhcp": {
                        "leasetime": "12h",
                        "start": 4,
                        "limit": 50,
                        "dns": ["9.9.9.9"],
                        "relay": "10.0.0.1",
                    },
                    "wireless": {"ssid": "Free WiFi", "key": "password", "hidden": False, "maxassoc": 3},
                    "requirements": {"hwmode": "11g", "channel": 6},
                    "ipv4_network": "192.168.33.0/24",
                    "port-bindings": [{"external": 80, "internal": 8080}],
                },
                "vlan0": {"type": "vlan", "vlan-id": 5, "l3bridge": "lan"},
            },
            "requests": {
                "as-root": True,
                "port-bindings": {"80/tcp": 8080, "53/udp": None},
                "cpu-fraction": 0.5,
                "prioritize-traffic": True,
                "memory-limit": "256M",
                "network-mode": "bridge",
                "privileged": False,
            },
            "dns": ["9.9.9.9", "::1"],
            "depends-on": ["other"],
        },
        "other": {"type": "image", "image": "redis:7", "credentials": {"user": "a", "secret": "b"}},
    },
    "web": {"service": "main", "port": 80, "access": "users"},
}
FULL_OLD: dict[str, Any] = {
    "name": "old",
    "type": "light",
    "use": "python2",
    "command": "python main.py",
    "as_root": False,
    "source": {"type": "git", "url": "https://example.org"},
    "config": {
        "name": "old",
        "web": {"port": "80", "access": "public"},
        "host_config": {"port_bindings": [{"internal": 1}], "network_mode": "host", "privileged": True},
        "environment": {"A": 1},
        "packages": ["curl"],
        "download": {"url": "https://example.org/x.tar", "type": "http"},
        "dataDir": "/x",
        "net": {
            "wifi": {
                "type": "wifi",
                "mode": "ap",
                "intfName": "wlan0",
                "ssid": "Free",
                "dhcp": {"lease": "1h"},
                "options": {"isolate": True},
                "vlan_id": None,
            }
        },
    },
}


def _valid(document: Any) -> bool:
    return next(violations(document), None) is None


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", [FULL, FULL_OLD, {"name": "a"}, {"config": {"name": "a"}}])
def test_what_is_right_is_right_for_both(document: Any) -> None:
    assert [*violations(document)] == []
    assert REFERENCE.is_valid(document)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


JUNK = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            80,
            80.0,
            0.5,
            65536,
            2**53,
            "",
            "a",
            "A",
            "80",
            "80/tcp",
            "99999",
            "a\n",
        ),
        *(
            "x" * 300,
            "x" * 5000,
            "host",
            "..",
            "../x",
            "/x",
            "psk2",
            "12h",
            "1.2.3.4",
            [],
            [1],
            ["a"],
            [[]],
            {},
        ),
        *({"a": 1}, {"name": "x"}, {"port": 80}, {"service": "m"}, {"url": "https://x"}, {"main": None}),
    ]
)
KEYS = st.sampled_from(
    ["name", "port", "services", "config", "x", "", "A=B", "80/tcp", "main", "type", "ssid"]
)


@pytest.mark.thorough
@settings(max_examples=400, deadline=2000)
@given(st.sampled_from([FULL, FULL_OLD]), st.data())
def test_both_judge_alike(document: Any, data: st.DataObject) -> None:
    """Whatever is broken in a good description, ours and the reference library agree."""
    broken: Any = deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        places = [place for place in _places(broken) if place]
        if not places:
            break
        *way, last = data.draw(st.sampled_from(places))
        inner = broken
        for step in way:
            inner = inner[step]
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            inner[last] = deepcopy(data.draw(JUNK))
        elif action == "remove":
            del inner[last]
        elif isinstance(inner, dict):
            inner[data.draw(KEYS)] = deepcopy(data.draw(JUNK))
    assert _valid(broken) == REFERENCE.is_valid(broken), broken


def test_forms_of_the_tests_are_right() -> None:
    assert parse_chute_file(NEW_FORM.encode()).spec.name == "seismometer"
    assert parse_chute_file(OLD_FORM.encode()).spec.name == "hello-world"


def _walk(schema: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    if isinstance(schema, dict):
        found.append((path, schema))
        for key, value in schema.items():
            found += _walk(value, f"{path}/{key}")
    return found


def test_every_constraint_says_what_it_expects() -> None:
    """A mistake is told in the schema's own words: wherever one can be made there are some."""
    constraints = {"pattern", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
    inner = ("/if", "/not", "/anyOf", "namedAtTop", "namedInConfig")
    for path, node in _walk(SCHEMA, ""):
        if constraints & set(node) and not path.endswith("/properties") and not any(i in path for i in inner):
            assert "x-expects" in node, path


def test_all_mistakes_are_told_at_once() -> None:
    text = "name: a\nversoin: 1\nservices: {m: {comand: x, requests: {cpu-fraction: 7}}}\nweb: {port: 0}"
    with pytest.raises(InvalidArgument) as caught:
        parse_chute_file(text.encode())
    told = dict(caught.value.violations)
    assert list(told) == [
        "versoin",
        "services.m.comand",
        "services.m.requests.cpu-fraction",
        "web.port",
    ]
    assert told["versoin"].endswith("did you mean version?")
    assert told["services.m.requests.cpu-fraction"].endswith("must be a number from 0 to 1.")
    status = to_proto(caught.value)
    assert len(status.details) == 2
    assert len(status.SerializeToString()) < 4096


def test_many_mistakes_still_fit_into_a_header() -> None:
    variables = ", ".join(f"'{n}={'x' * 80}': [1]" for n in range(200))
    with pytest.raises(InvalidArgument) as caught:
        parse_chute_file(f"name: a\nenvironment: {{{variables}}}".encode())
    assert len(to_proto(caught.value).SerializeToString()) < 6000


@pytest.mark.parametrize("secret", ["hunter2-is-secret\n", "hunter2" * 1000])
def test_mistakes_do_not_repeat_values(secret: str) -> None:
    """People write passwords into descriptions."""
    document = {
        "name": "a",
        "download": {"url": "https://x", "secret": secret},
        "services": {"m": {"interfaces": {"w": {"type": "wifi-ap", "wireless": {"key": secret}}}}},
    }
    found = [*violations(document)]
    assert {one.field for one in found} == {
        "download.secret",
        "services.m.interfaces.w.wireless.key",
    }
    assert "hunter2" not in str(found)

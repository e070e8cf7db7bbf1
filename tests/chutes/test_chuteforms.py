"""Both forms of descriptions mean the same, and what only a look at the whole shows is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from services.chutes.adapters.folders import DiskFolders
from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.containers import NodeAddress, container_plan
from services.chutes.domain.light import LIGHT_IMAGES, light_command, light_dockerfile
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.spec import ChuteSpec, Credentials, Download, PortBinding, WebSpec
from services.chutes.domain.specdocuments import spec_from_document, to_document
from services.common.errors import DomainError, FailedPrecondition, InvalidArgument
from tests.chutes.test_chuteschema import FULL, FULL_OLD
from tests.chutes.test_planner import INSTALLED


def read(**document: Any) -> ChuteSpec:
    return read_definition({"name": "a", **document}).spec


def services(**given: Any) -> ChuteSpec:
    return read(services=given)


def refused(**document: Any) -> DomainError:
    with pytest.raises(InvalidArgument) as caught:
        read(**document)
    return caught.value


def test_everything_of_the_new_form_is_kept() -> None:
    definition = read_definition(FULL)
    main = definition.spec.services["main"]
    assert (main.type, main.image, main.source, main.command) == ("light", "python", "src", ("a", "1"))
    assert main.build == {"packages": ["curl"], "image_source": "python", "image_version": 3.12}
    assert main.port_bindings == (PortBinding(80, "tcp", 8080), PortBinding(53, "udp"))
    assert (main.memory_limit_bytes, main.as_root, main.privileged) == (256 * 1024**2, True, False)
    assert (main.network_mode, main.dns, main.depends_on) == ("bridge", ("9.9.9.9", "::1"), ("other",))
    assert main.interfaces["wlan0"] == {
        "type": "wifi-ap",
        "dhcp": {"lease": "12h", "start": 4, "limit": 50, "dns": ["9.9.9.9"], "relay": ["10.0.0.1"]},
        "wireless": {"ssid": "Free WiFi", "key": "password", "hidden": False, "maxassoc": 3},
        "requests": {"hwmode": "11g", "channel": 6},
        "ipv4_network": "192.168.33.0/24",
        "port-bindings": {"8080/tcp": 80},
    }
    assert main.interfaces["vlan0"] == {"type": "vlan", "vlan_id": 5, "l3bridge": "lan"}
    assert definition.spec.web == WebSpec("main", 80, "users")
    assert definition.spec.start_order == ["other", "main"]
    assert definition.download == Download("https://example.org/x.git", "git", "main", Credentials("a", "b"))
    assert definition.credentials == {"other": Credentials("a", "b")}


def test_everything_of_the_old_form_is_kept() -> None:
    config = {key: value for key, value in FULL_OLD["config"].items() if key != "net"}
    host_config = {"port_bindings": [{"internal": 1}], "privileged": True, "network_mode": "bridge"}
    definition = read_definition({**FULL_OLD, "config": {**config, "host_config": host_config}})
    (main,) = definition.spec.services.values()
    assert (main.name, main.type, main.image, main.command) == ("main", "light", "python2", "python main.py")
    assert main.requests == {"as-root": False, "network-mode": "bridge", "privileged": True}
    assert (main.port_bindings, main.environment) == ((PortBinding(1),), {"A": "1"})
    assert main.build == {"packages": ["curl"]}
    assert definition.spec.web == WebSpec("main", 80)
    assert definition.download == Download("https://example.org/x.tar", "http")
    assert "download" not in definition.spec.config


@pytest.mark.parametrize("document", [FULL, {**FULL_OLD, "config": {"web": {"port": 1}}}])
def test_a_chute_survives_the_store(document: Any) -> None:
    spec = read_definition(document).spec
    stored = json.loads(json.dumps(to_document(spec), allow_nan=False))
    assert spec_from_document(stored) == spec
    assert read_definition({**stored, "config": None}).spec.services == spec.services


def test_secrets_are_not_part_of_what_is_stored() -> None:
    document = json.loads(json.dumps(FULL).replace('"b"', '"hunter2"'))
    definition = read_definition(document)
    assert definition.credentials["other"].secret == "hunter2"
    assert "hunter2" in repr(document)
    del document["environment"]["A"]
    definition = read_definition(document)
    assert "hunter2" not in json.dumps(to_document(definition.spec))
    assert "hunter2" not in json.dumps(definition.document)
    assert "hunter2" not in repr(definition)


OLD_NET = {"wifi": {"type": "wifi", "intfName": "wlan0", "ssid": "Free", "dhcp": {"lease": "1h", "start": 4}}}


def test_old_networks_become_interfaces() -> None:
    net = {
        "wifi": {**OLD_NET["wifi"], "key": "password", "options": {"isolate": True, "ssid": "Better"}},
        "mon": {"type": "wifi", "mode": "monitor", "intfName": "mon0"},
        "wire": {"type": "lan", "intfName": "eth1"},
    }
    spec = read(config={"net": net})
    assert spec.services["main"].interfaces == {
        "wlan0": {
            "type": "wifi-ap",
            "dhcp": {"lease": "1h", "start": 4},
            "wireless": {"ssid": "Better", "key": "password", "isolate": True},
        },
        "mon0": {"type": "wifi-monitor"},
        "eth1": {"type": "lan"},
    }
    assert spec.config["net"] == net


@pytest.mark.parametrize(
    ("interface", "field"),
    [
        ({"type": "wifi-ap"}, "wireless.ssid"),
        ({"type": "vlan"}, "vlan_id"),
        ({"type": "vlan", "vlan_id": 1, "vlan-id": 2}, "vlan-id"),
        ({"type": "lan", "requests": {"hwmode": "a"}, "requirements": {"hwmode": "b"}}, "requirements"),
        ({"type": "lan", "intfName": "other"}, "intfName"),
        ({"type": "lan", "dhcp": {"start": 4}}, "dhcp.lease"),
        ({"type": "lan", "dhcp": {"lease": "1h", "leasetime": "2h"}}, "dhcp.leasetime"),
        ({"type": "lan", "dhcp": {"lease": "1h", "dns": "1.2.3"}}, "dhcp.dns"),
        ({"type": "lan", "dns": "1.2.3.4"}, "dns"),
        ({"type": "lan", "ipv4_network": "192.168.1.7/24"}, "ipv4_network"),
        ({"type": "lan", "port-bindings": {"80": 1, "80/tcp": 2}}, "port-bindings"),
        ({"type": "wifi-ap", "wireless": {"ssid": "x", "encryption": "psk2"}}, "wireless.key"),
        ({"type": "wifi-ap", "wireless": {"ssid": "x\n[bss]"}}, "wireless.ssid"),
        ({"type": "wifi-ap", "wireless": {"ssid": "x" * 33}}, "wireless.ssid"),
        ({"type": "wifi-ap", "wireless": {"ssid": "x", "key": "short"}}, "wireless.key"),
        ({"type": "bluetooth"}, "type"),
        ({"type": "lan", "leasetime": "1h"}, "leasetime"),
    ],
)
def test_networks_are_checked(interface: Any, field: str) -> None:
    error = refused(services={"m": {"interfaces": {"if0": interface}}})
    assert error.field == f"services.m.interfaces.if0.{field}"


def test_names_of_interfaces_are_checked() -> None:
    for name in ("", "0wlan", "a" * 16, "a/b", "a b"):
        error = refused(services={"m": {"interfaces": {name: {"type": "lan"}}}})
        assert (error.field or "").startswith("services.m.interfaces")
    net = {"a": {"type": "lan", "intfName": "x"}, "b": {"type": "lan", "intfName": "x"}}
    assert refused(config={"net": net}).field == "config.net.b.intfName"


def test_services_start_after_what_they_depend_on() -> None:
    spec = services(
        web={"depends-on": ["api", "cache"]}, api={"depends-on": ["store"]}, store=None, cache={}, log=None
    )
    assert spec.start_order == ["store", "api", "cache", "web", "log"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": {"depends-on": ["b"]}, "b": {"depends-on": ["c"]}, "c": {"depends-on": ["a"]}},
         "a -> b -> c -> a"),
        ({"a": {"depends-on": ["a"]}}, "a -> a"),
        ({"a": {}, "b": {"depends-on": ["x"]}}, "names x, which is no service"),
    ],
)  # fmt: skip
def test_circles_are_refused_by_name(given: Any, words: str) -> None:
    error = refused(services=given)
    assert words in str(error)
    assert (error.field or "").endswith(".depends-on")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"services": {"m": {"type": "light", "command": "x"}}}, "services.m.image"),
        ({"services": {"m": {"type": "light", "image": "cobol", "command": "x"}}}, "services.m.image"),
        ({"services": {"m": {"type": "light", "image": "python"}}}, "services.m.command"),
        ({"services": {"m": {"type": "image"}}}, "services.m.image"),
        ({"services": {"m": {"type": "image", "image": "UPPER"}}}, "services.m.image"),
        ({"services": {"m": {"type": "image", "image": "a\nRUN x"}}}, "services.m.image"),
        ({"services": {"m": {"credentials": {"user": "a"}}}}, "services.m.credentials"),
        ({"services": {"m": {"build": {"packages": ["a; b"]}}}}, "services.m.build.packages[0]"),
        ({"services": {"m": {"build": {"packages": ["-o x"]}}}}, "services.m.build.packages[0]"),
        ({"services": {"m": {"build": {"image_version": "1\nRUN"}}}}, "services.m.build.image_version"),
        ({"services": {"m": {"source": "../x"}}}, "services.m.source"),
        ({"services": {"m": {"source": "/x"}}}, "services.m.source"),
        ({"services": {"m": {"requests": {"memory-limit": "1M"}}}}, "services.m.requests.memory-limit"),
        ({"services": {"m": {"requests": {"memory-limit": "lots"}}}}, "services.m.requests.memory-limit"),
        ({"services": {"m": {"requests": {"network-mode": "container:x"}}}},
         "services.m.requests.network-mode"),
        ({"services": {"m": {"requests": {"network-mode": "host", "port-bindings": {"80": 80}}}}},
         "services.m.requests.network-mode"),
        ({"services": {"m": {"dns": ["1.2.3"]}}}, "services.m.dns"),
        ({"services": {"m": {"name": "n"}}}, "services.m.name"),
        ({"services": {"m": {}}, "web": {"port": 80, "access": "some"}}, "web.access"),
        ({"type": "light", "use": "cobol", "command": "x"}, "use"),
        ({"type": "light", "use": "python2"}, "command"),
        ({"config": {"host_config": {"port_bindings": {"1": 2, "3": 2}}}},
         "config.host_config.port_bindings"),
        ({"download": {"url": "http://example.org/x.tar"}}, "download.url"),
        ({"download": {"url": "https://a:b@example.org/x.tar"}}, "download.url"),
        ({"download": {"url": "https://example.org/x.tar", "checkout": "main"}}, "download.checkout"),
        ({"download": {"url": "https://example.org/x.git", "checkout": "--upload-pack=x"}},
         "download.checkout"),
        ({"download": {"url": "https://example.org/x.git", "checkout": "a..b"}}, "download.checkout"),
        ({"download": {"url": "ssh://git@example.org/x.git"}}, "download.url"),
        ({"download": {"url": "git@example.org:x.git"}}, "download.url"),
        ({"download": {"url": "file:///etc/passwd"}}, "download.url"),
        ({"config": {"download": {"url": "ext::sh"}}}, "config.download.url"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_field(document: Any, field: str) -> None:
    assert refused(**document).field == field


@pytest.mark.parametrize(
    ("url", "checkout", "expected"),
    [
        ("https://github.com/o/r", None, Download("https://github.com/o/r/tarball/master", "http")),
        ("https://github.com/o/r.git", "v1.0", Download("https://github.com/o/r/tarball/v1.0", "http")),
        ("https://www.github.com/o/r/", "a/b", Download("https://github.com/o/r/tarball/a/b", "http")),
        ("https://github.com/o/r/archive/x.tar", None,
         Download("https://github.com/o/r/archive/x.tar", "http")),
        ("https://example.org/x.git", None, Download("https://example.org/x.git", "git")),
        ("https://example.org/x.git", "main", Download("https://example.org/x.git", "git", "main")),
    ],
)  # fmt: skip
def test_where_files_come_from(url: str, checkout: str | None, expected: Download) -> None:
    definition = read_definition({"name": "a", "download": {"url": url, "checkout": checkout}})
    assert definition.download == expected


def test_settings_decide_what_is_privileged() -> None:
    privileged = services(m={"requests": {"privileged": True}})
    host = services(m={"requests": {"network-mode": "host"}})
    for spec, reason in ((privileged, "PRIVILEGED_NOT_ALLOWED"), (host, "HOST_NETWORK_NOT_ALLOWED")):
        with pytest.raises(FailedPrecondition) as caught:
            NodePolicy().require_allowed(spec)
        assert caught.value.reason == reason
        assert (caught.value.field or "").startswith("services.m.requests.")
        NodePolicy(allow_privileged=True, allow_host_network=True).require_allowed(spec)
    NodePolicy().require_allowed(services(m={"requests": {"privileged": False, "network-mode": "none"}}))


@pytest.mark.parametrize("image", LIGHT_IMAGES)
def test_light_dockerfiles(image: str) -> None:
    service = services(m={"type": "light", "image": image, "command": ["run", "it"]}).services["m"]
    lines = light_dockerfile(service, {}).splitlines()
    assert lines[0] == f"FROM {LIGHT_IMAGES[image].base}"
    assert lines[-2:] == ["USER paradrop", 'CMD ["run", "it"]']
    assert light_dockerfile(service, {image: "lab/base:1"}).startswith("FROM lab/base:1\n")


def test_light_dockerfiles_take_what_is_asked_for() -> None:
    build = {"packages": ["curl", "libx=1.0"], "image_source": "example.org/py", "image_version": 3.12}
    service = services(
        m={"type": "light", "image": "python3", "command": "echo $A", "build": build,
           "requests": {"as-root": True}}
    ).services["m"]  # fmt: skip
    text = light_dockerfile(service, {})
    assert text.startswith("FROM example.org/py:3.12\n")
    assert "--no-install-recommends curl libx=1.0 &&" in text
    assert "USER root\nCMD" in text
    assert light_command(service) == ["/bin/sh", "-c", "echo $A"]


def test_containers_get_what_is_asked_for(tmp_path: Any) -> None:
    given = {
        "type": "light",
        "image": "python",
        "command": "x",
        "dns": "9.9.9.9",
        "requests": {"memory-limit": 2**28, "privileged": True},
    }
    spec = services(light=given, host={"requests": {"network-mode": "host"}}, plain=None)
    chute = replace(INSTALLED, spec=spec, images={name: f"a-{name}:1" for name in spec.services})
    plans = {
        name: container_plan(chute, name, "t", DiskFolders(tmp_path), NodeAddress()) for name in spec.services
    }
    light = plans["light"]
    assert (light.user, light.low_ports, light.memory_limit_bytes) == ("paradrop", True, 2**28)
    assert (light.privileged, tuple(light.dns), light.command) == (True, ("9.9.9.9",), ["/bin/sh", "-c", "x"])
    assert (plans["host"].network_mode, plans["host"].user, plans["host"].low_ports) == ("host", None, False)
    assert (plans["plain"].network_mode, plans["plain"].privileged) == ("bridge", False)

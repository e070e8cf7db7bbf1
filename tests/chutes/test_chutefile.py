"""paradrop.yaml: what is accepted in both forms, and which field every refusal names."""

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chutes.domain.chutefile import parse_chute_file
from services.chutes.domain.chuteyaml import MAX_BYTES, MAX_NODES
from services.chutes.domain.spec import ChuteSpec, PortBinding, WebSpec
from services.chutes.domain.specdocuments import spec_from_document, to_document
from services.common.errors import DomainError, InvalidArgument

NEW_FORM = """
name: seismometer
description: Listens to the ground.
version: 3
owner: alice
environment: {LEVEL: info, RATE: 10, LOUD: yes, EMPTY: null}
web: {service: ui, port: 8000}
services:
  ui:
    type: normal
    source: ui
    command: ["python3", "-m", "ui", 8]
    environment: {THEME: dark}
    requests:
      as-root: true
      cpu-fraction: 0.5
      port-bindings: {"80/tcp": 8080, 53/udp: null, 443: "8443"}
  store:
    command: run --data '/data dir'
    requests:
      port-bindings:
        - {external: 2222, internal: 22}
        - {internal: 23}
"""

OLD_FORM = """
name: hello-world
description: Says hello.
version: "1.2"
type: normal
use: apache
command: nginx -g 'daemon off;'
as_root: true
environment: {A: 1}
source: {type: git, url: "https://example.org/hello.git"}
config:
  web: {port: 80}
  host_config: {port_bindings: {"80/tcp": 8081}}
  environment: {B: two}
  packages: [curl, 7]
  firewall: [{type: redirect}]
  dataDir: /x
  systemDir: /y
  resources: {cpu: 1}
"""


def parse(text: str) -> ChuteSpec:
    return parse_chute_file(text.encode()).spec


def refusal(text: str | bytes) -> DomainError:
    with pytest.raises(DomainError) as caught:
        parse_chute_file(text if isinstance(text, bytes) else text.encode())
    return caught.value


def test_new_form() -> None:
    spec = parse(NEW_FORM)
    assert (spec.name, spec.description, spec.version) == ("seismometer", "Listens to the ground.", 3)
    assert spec.environment == {"LEVEL": "info", "RATE": "10", "LOUD": "true", "EMPTY": ""}
    assert spec.web == WebSpec("ui", 8000)
    assert list(spec.services) == ["ui", "store"]
    ui, store = spec.services.values()
    assert (ui.name, ui.type, ui.source, ui.image) == ("ui", "normal", "ui", None)
    assert ui.command == ("python3", "-m", "ui", "8")
    assert ui.environment == {"THEME": "dark"}
    assert ui.port_bindings == (
        PortBinding(80, "tcp", 8080),
        PortBinding(53, "udp", None),
        PortBinding(443, "tcp", 8443),
    )
    assert ui.requests["cpu-fraction"] == 0.5
    assert ui.requests["as-root"] is True
    assert store.command == "run --data '/data dir'"
    assert store.port_bindings == (PortBinding(22, "tcp", 2222), PortBinding(23, "tcp", None))


def test_old_form() -> None:
    spec = parse(OLD_FORM)
    assert (spec.name, spec.version, spec.web) == ("hello-world", "1.2", WebSpec("main", 80))
    assert spec.environment == {"A": "1"}
    (main,) = spec.services.values()
    assert (main.name, main.type, main.image) == ("main", "normal", "apache")
    assert main.command == "nginx -g 'daemon off;'"
    assert main.environment == {"B": "two"}
    assert main.port_bindings == (PortBinding(80, "tcp", 8081),)
    assert main.requests == {"as-root": True}
    assert main.build == {"packages": ["curl", 7]}
    assert spec.config["dataDir"] == "/x"


def test_smallest_chutes() -> None:
    assert parse("name: a").services["main"].type == "normal"
    assert parse("name: a").version is None
    assert parse("config: {name: from-config}").name == "from-config"
    assert parse("name: top\nconfig: {name: from-config}").name == "top"
    only = parse("name: a\nservices: {web: {}}\nweb: {port: 80}")
    assert only.web == WebSpec("web", 80)
    assert parse("name: a\nservices:\n  main:\n").services["main"].source == "."
    assert parse("\ufeffname: a").name == "a"


def test_yaml_has_no_surprises() -> None:
    spec = parse("name: a\nenvironment: {T: 1:30, Z: 010, D: 2020-01-01, U: 1_000, I: .inf, X: 0x1F, E: on}")
    assert spec.environment == {
        "T": "1:30",
        "Z": "010",
        "D": "2020-01-01",
        "U": "1_000",
        "I": ".inf",
        "X": "31",
        "E": "true",
    }


def test_anchors_and_merges_work() -> None:
    spec = parse(
        "name: a\nservices:\n  one: &one {environment: {A: b}}\n  two: {<<: *one, command: ls}\n  three: *one"
    )
    assert spec.services["two"].environment == {"A": "b"}
    assert spec.services["two"].command == "ls"
    assert spec.services["three"].environment == {"A": "b"}


@pytest.mark.parametrize("text", [NEW_FORM, OLD_FORM, "name: a", "name: a\nversion: 1.5\nservices: {b: }"])
def test_documents_bring_a_chute_back(text: str) -> None:
    spec = parse(text)
    stored = json.dumps(to_document(spec), allow_nan=False)
    assert spec_from_document(json.loads(stored)) == spec


@pytest.mark.parametrize("name", ["a", "a1", "hello-world", "a--b", "a" * 40])
def test_names(name: str) -> None:
    assert parse(f"name: {name}").name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "Hello",
        "1a",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "a b",
        "a/b",
        "..",
        "a" * 41,
        "ä",
        "a\n",
        "host",
        "none",
    ],
)
def test_bad_names(name: str) -> None:
    error = refusal(f"name: {json.dumps(name)}")
    assert (error.reason, error.field) == ("CHUTE_NAME_INVALID", "name")


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("version: 1", "CHUTE_NAME_MISSING", "name"),
        ("name:", "CHUTE_NAME_MISSING", "name"),
        ("name: 7", "CHUTE_NAME_INVALID", "name"),
        ("name: [a]", "CHUTE_NAME_INVALID", "name"),
        ("config: {name: A}", "CHUTE_NAME_INVALID", "config.name"),
        ("name: a\nservices: {Main: {}}", "SERVICE_NAME_INVALID", "services.Main"),
        ("name: a\nservices: {m-: {}}", "SERVICE_NAME_INVALID", "services.m-"),
        ("name: a\nservices: {}", "CHUTE_FILE_INVALID", "services"),
        ("name: a\nservices: [main]", "CHUTE_FILE_INVALID", "services"),
        ("name: a\nservices: {m: run}", "CHUTE_FILE_INVALID", "services.m"),
        ("name: a\nservices: {m: {type: inline}}", "CHUTE_FILE_INVALID", "services.m.type"),
        ("name: a\nservices: {m: {type: 1}}", "CHUTE_FILE_INVALID", "services.m.type"),
        ("name: a\ntype: strange", "CHUTE_FILE_INVALID", "type"),
        ("name: a\nversion: [1]", "CHUTE_FILE_INVALID", "version"),
        ("name: a\nversion: true", "CHUTE_FILE_INVALID", "version"),
        ("name: a\nversion: ''", "CHUTE_FILE_INVALID", "version"),
        ('name: a\nversion: "1\\n2"', "CHUTE_FILE_INVALID", "version"),
        ("name: a\nversion: 9007199254740993", "CHUTE_FILE_INVALID", "version"),
        ("name: a\nversion: 1.0e400", "CHUTE_FILE_INVALID", "version"),
        ("name: a\ndescription: 1", "CHUTE_FILE_INVALID", "description"),
        ("name: a\nowner: {name: b}", "CHUTE_FILE_INVALID", "owner"),
        ("name: a\ncommand: []", "CHUTE_FILE_INVALID", "command"),
        ("name: a\ncommand: ''", "CHUTE_FILE_INVALID", "command"),
        ("name: a\ncommand: [[a]]", "CHUTE_FILE_INVALID", "command[0]"),
        ("name: a\ncommand: \"sh -c 'x\"", "CHUTE_FILE_INVALID", "command"),
        ("name: a\ncommand: 1", "CHUTE_FILE_INVALID", "command"),
        ("name: a\nas_root: 'yes'", "CHUTE_FILE_INVALID", "as_root"),
        ("name: a\nenvironment: [A]", "CHUTE_FILE_INVALID", "environment"),
        ("name: a\nenvironment: {A: [1]}", "CHUTE_FILE_INVALID", "environment.A"),
        ("name: a\nenvironment: {'A=B': 1}", "CHUTE_FILE_INVALID", "environment.A=B"),
        ('name: a\nenvironment: {"A\\nB": 1}', "CHUTE_FILE_INVALID", "environment.A\nB"),
        ('name: a\nenvironment: {A: "b\\0c"}', "CHUTE_FILE_INVALID", "environment.A"),
        ("name: a\nconfig: {web: {port: 0}}", "CHUTE_FILE_INVALID", "config.web.port"),
        ("name: a\nconfig: {web: {port: 65536}}", "CHUTE_FILE_INVALID", "config.web.port"),
        ("name: a\nconfig: {web: {port: true}}", "CHUTE_FILE_INVALID", "config.web.port"),
        ("name: a\nconfig: {web: {prot: 1}}", "CHUTE_FILE_INVALID", "config.web.prot"),
        ("name: a\nweb: {port: 80}", "CHUTE_FILE_INVALID", "web"),
        ("name: a\nservices: {m: }\nweb: {service: x, port: 80}", "CHUTE_FILE_INVALID", "web.service"),
        ("name: a\nservices: {m: , n: }\nweb: {port: 80}", "CHUTE_FILE_INVALID", "web.service"),
        ("name: a\nservices: {m: }\nweb: {service: m}", "CHUTE_FILE_INVALID", "web.port"),
        (
            "name: a\nservices: {m: {requests: {port-bindings: {http: 80}}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.port-bindings.http",
        ),
        (
            "name: a\nservices: {m: {requests: {port-bindings: {80/tcp: 99999}}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.port-bindings.80/tcp",
        ),
        (
            "name: a\nservices: {m: {requests: {port-bindings: [{internal: 1}, {external: 2}]}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.port-bindings[1].internal",
        ),
        (
            "name: a\nservices: {m: {requests: {port-bindings: [{internal: 1, extrenal: 2}]}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.port-bindings[0].extrenal",
        ),
        (
            "name: a\nservices: {m: {requests: {port-bindings: {80: 1, 80/tcp: 2}}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.port-bindings",
        ),
        (
            "name: a\nservices: {m: {requests: {port-bindings: {80: 1, 81: 1}}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.port-bindings",
        ),
        (
            "name: a\nservices: {m: {requests: {cpu-fraction: 2}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.cpu-fraction",
        ),
        (
            "name: a\nservices: {m: {requests: {as-root: 1}}}",
            "CHUTE_FILE_INVALID",
            "services.m.requests.as-root",
        ),
        ("a: [1", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("a: 1\na: 2", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("- a", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("a: 1\n---\nb: 2", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("a: !!python/object/apply:os.system [ls]", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("a: *b", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("a: &a [*a]", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("? [a]\n: b", "CHUTE_FILE_INVALID", "paradrop.yaml"),
        ("1.5: b", "CHUTE_FILE_INVALID", "paradrop.yaml"),
    ],
)  # fmt: skip
def test_refusals_name_the_field(text: str, reason: str, field: str) -> None:
    error = refusal(text)
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.field) == (reason, field)


@pytest.mark.parametrize(
    ("text", "field", "suggestion"),
    [
        ("name: a\nservcies: {}", "servcies", "services"),
        ("name: a\nservces: {}", "servces", "services"),
        ("name: a\nwbe: {port: 80}", "wbe", "web"),
        ("name: a\nenviroment: {}", "enviroment", "environment"),
        ("name: a\nservices: {m: {comand: ls}}", "services.m.comand", "command"),
        ("name: a\nservices: {m: {requests: {port_bindings: {}}}}", "services.m.requests.port_bindings",
         "port-bindings"),
        ("name: a\nservices: {m: {}}\nconfig: {web: {}}", "config.web", None),
        ("name: a\nconfig: {hostconfig: {}}", "config.hostconfig", "host_config"),
        ("name: a\nuser: bob", "user", "use"),
        ("name: a\nupdateClass: ROUTER", "updateClass", None),
    ],
)  # fmt: skip
def test_unknown_keys_are_refused_with_advice(text: str, field: str, suggestion: str | None) -> None:
    error = refusal(text)
    assert (error.reason, error.field) == ("CHUTE_FILE_INVALID", field)
    if suggestion:
        assert f"did you mean {suggestion}?" in str(error)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(20),
        merge_bomb(20),
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "? " * 100_000,
        "&a " * 50_000,
        "- a\n" * (MAX_NODES + 1),
        "a: '" + "x" * MAX_BYTES,
        "a: " + "9" * 200_000,
        "a: " + "1:" * 100_000 + "1",
        "a: 0." + "1" * 200_000,
        "\n".join(f"k{n}: &k{n} v" for n in range(9_000)),
        "a: " + "!" * 200_000,
        "#" * 200_000,
        "x" * 200_000 + ": 1",
        "name: a\nenvironment:\n" + "\n".join(f"  V{n}: x" for n in range(300)),
        "name: a\nservices:\n" + "\n".join(f"  s{n}:" for n in range(40)),
    ],
)
def test_bombs_are_refused_quickly(text: str) -> None:
    start_s = time.process_time()
    error = refusal(text)
    assert time.process_time() - start_s < 2
    assert error.reason == "CHUTE_FILE_INVALID"
    assert len(str(error)) < 700
    assert len(error.field or "") <= 200


@pytest.mark.parametrize("content", [b"\xff\xfea\0", b"a: \xe9", b"a: \x07", b"\0" * 100])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    assert refusal(content).reason == "CHUTE_FILE_INVALID"


@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(content: bytes) -> None:
    _parses_or_is_refused(content)


@settings(max_examples=300, deadline=2000)
@given(st.text(alphabet=" \n\t-:?[]{}&*!|>'\"%@`#,.0123456789abcexoy<~\\", max_size=120))
def test_any_yaml_like_text_parses_or_is_refused(text: str) -> None:
    _parses_or_is_refused(text.encode())


KEYS = st.sampled_from(
    [
        *(
            "name",
            "description",
            "version",
            "owner",
            "environment",
            "config",
            "services",
            "web",
            "type",
            "use",
        ),
        *("command", "as_root", "source", "net", "main", "service", "port", "requests", "port-bindings"),
        *("as-root", "cpu-fraction", "build", "packages", "host_config", "port_bindings"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "normal"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.thorough
@settings(max_examples=300, deadline=2000)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_document_parses_or_is_refused(document: dict[str, Any]) -> None:
    _parses_or_is_refused(
        yaml.safe_dump({"name": "a", **document}, allow_unicode=True).encode("utf-8", "replace")
    )


def _parses_or_is_refused(content: bytes) -> None:
    error, spec = None, None
    try:
        spec = parse_chute_file(content).spec
    except DomainError as raised:
        error = raised
    if spec is not None:
        stored = json.dumps(to_document(spec), allow_nan=False)
        assert spec_from_document(json.loads(stored)) == spec
    if error is not None:
        assert error.field
        assert len(str(error)) < 700

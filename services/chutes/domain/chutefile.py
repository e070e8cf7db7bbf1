"""Turns paradrop.yaml, in its old and its new form, into what a chute is."""

import re
from collections.abc import Mapping
from typing import Any

from services.chutes.domain.chutefields import Section, later
from services.chutes.domain.chuteyaml import invalid, load_mapping
from services.chutes.domain.spec import ChuteSpec, PortBinding, ServiceSpec, WebSpec
from services.common.errors import InvalidArgument

MAX_NAME_CHARACTERS = 40
MAX_SERVICES = 32
OLD_FORM_SERVICE = "main"
TAKEN_NAMES = ("bridge", "host", "none")
"""Networks of every Docker engine; a chute's network has the name of the chute."""

_NAME = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_LATER_TYPES = ("light", "image")

_COMMON_KEYS = ("name", "description", "version", "owner", "environment", "config", "download")
_NEW_KEYS = (*_COMMON_KEYS, "services", "web")
_OLD_KEYS = (*_COMMON_KEYS, "type", "use", "command", "as_root", "source", "net")
_SERVICE_KEYS = (
    "type", "source", "image", "command", "build", "environment", "interfaces", "requests", "dns",
)  # fmt: skip
_WEB_KEYS = ("service", "port", "access")
_WEB_ACCESS = ("public", "users")
_REQUEST_KEYS = ("as-root", "port-bindings", "cpu-fraction", "network-mode", "privileged")
_BUILD_KEYS = ("packages", "image_source", "image_version")
_CONFIG_KEYS = (
    "name", "web", "host_config", "environment", *_BUILD_KEYS, "net",
    "firewall", "dataDir", "systemDir", "resources", "download",
)  # fmt: skip
_HOST_CONFIG_KEYS = ("port_bindings", "network_mode", "privileged")


def parse_chute_file(content: bytes) -> ChuteSpec:
    """Returns the chute that a paradrop.yaml describes, or raises which field is wrong and why."""
    document = load_mapping(content)
    if "services" in document:
        return _new_form(Section(document, "", _NEW_KEYS))
    return _old_form(Section(document, "", _OLD_KEYS))


def check_chute_name(text: str) -> str:
    """Returns the name of a chute if it is one."""
    return _checked_name(text, "name", "CHUTE_NAME_INVALID", "The name of a chute")


def _checked_name(text: object, field: str, reason: str, what: str) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text) or len(text) > MAX_NAME_CHARACTERS:
        raise InvalidArgument(
            f"{what} must be lower-case letters, digits and dashes, begin with a letter, not end with a "
            f"dash, and have at most {MAX_NAME_CHARACTERS} characters; {str(text)[:80]!r} is not like that.",
            reason=reason,
            field=field,
        )
    if text in TAKEN_NAMES and reason == "CHUTE_NAME_INVALID":
        raise InvalidArgument(
            f"{what} cannot be {text}: the engine's own network has that name. Choose another.",
            reason=reason,
            field=field,
        )
    return text


def _name(top: Section, config: Section) -> str:
    if top.given("name"):
        return check_chute_name(top.value("name"))
    if config.given("name"):
        return _checked_name(config.value("name"), "config.name", "CHUTE_NAME_INVALID", "The name of a chute")
    raise InvalidArgument(
        "paradrop.yaml does not name the chute; add a line such as 'name: hello-world'.",
        reason="CHUTE_NAME_MISSING",
        field="name",
    )


def _new_form(top: Section) -> ChuteSpec:
    top.refuse_later("download")
    config = top.section("config", ("name",))
    name = _name(top, config)
    top.text("owner")
    services = {
        service: _service(service, section) for service, section in top.sections("services", _SERVICE_KEYS)
    }
    if not services:
        raise invalid("services must name at least one service, such as 'main'.", "services")
    if len(services) > MAX_SERVICES:
        raise invalid(f"a chute has at most {MAX_SERVICES} services.", "services")
    return ChuteSpec(
        name=name,
        services=services,
        version=top.version("version"),
        description=top.text("description") or "",
        environment=top.environment("environment"),
        web=_web(top, services),
    )


def _service(name: str, section: Section) -> ServiceSpec:
    _checked_name(name, section.field, "SERVICE_NAME_INVALID", "The name of a service")
    _check_type(section)
    section.refuse_later("interfaces", "dns")
    requests = section.section("requests", _REQUEST_KEYS)
    requests.refuse_later("network-mode", "privileged")
    requests.flag("as-root")
    requests.fraction("cpu-fraction")
    return ServiceSpec(
        name=name,
        source=section.text("source") or ".",
        image=section.text("image"),
        command=section.command("command"),
        environment=section.environment("environment"),
        port_bindings=requests.port_bindings("port-bindings"),
        build=_build(section.section("build", _BUILD_KEYS)),
        requests=requests.values,
    )


def _web(top: Section, services: Mapping[str, ServiceSpec]) -> WebSpec | None:
    web = top.section("web", _WEB_KEYS)
    if not web.values:
        return None
    service = web.text("service")
    if service is None and len(services) == 1:
        service = next(iter(services))
    if service is None or service not in services:
        known = ", ".join(services)
        raise invalid(f"web.service must be one of the services ({known}).", "web.service")
    return _web_spec(web, service)


def _web_spec(web: Section, service: str) -> WebSpec:
    access = web.text("access") or "public"
    if access not in _WEB_ACCESS:
        raise invalid(f"{web.path('access')} must be {' or '.join(_WEB_ACCESS)}.", web.path("access"))
    return WebSpec(service, web.port("port"), access)


def _old_form(top: Section) -> ChuteSpec:
    config = top.section("config", _CONFIG_KEYS)
    name = _name(top, config)
    _check_type(top)
    top.refuse_later("download", "net")
    config.refuse_later("download", "net")
    top.text("owner")
    top.section("source", ("type", "url"))
    host_config = config.section("host_config", _HOST_CONFIG_KEYS)
    host_config.refuse_later("network_mode", "privileged")
    requests: dict[str, Any] = {"as-root": top.flag("as_root")}
    if host_config.given("port_bindings"):
        requests["port-bindings"] = host_config.value("port_bindings")
    web = config.section("web", ("port", "access"))
    service = ServiceSpec(
        name=OLD_FORM_SERVICE,
        image=top.text("use"),
        command=top.command("command"),
        environment=config.environment("environment"),
        port_bindings=host_config.port_bindings("port_bindings"),
        build=_build(config),
        requests=requests,
    )
    return ChuteSpec(
        name=name,
        services={OLD_FORM_SERVICE: service},
        version=top.version("version"),
        description=top.text("description") or "",
        environment=top.environment("environment"),
        web=_web_spec(web, OLD_FORM_SERVICE) if web.values else None,
        config=config.values,
    )


def _check_type(section: Section) -> None:
    kind = section.text("type") or "normal"
    if kind in _LATER_TYPES:
        raise later(
            section.path("type"), f"services of the type {kind}", "use the type normal and a Dockerfile"
        )
    if kind != "normal":
        raise invalid(f"{section.path('type')} must be normal, not {kind[:40]!r}.", section.path("type"))


def _build(section: Section) -> dict[str, Any]:
    section.texts("packages")
    section.text("image_source")
    section.scalar("image_version")
    return {key: section.value(key) for key in _BUILD_KEYS if section.given(key)}


def to_document(spec: ChuteSpec) -> dict[str, Any]:
    """Returns a chute as JSON values, for `spec_from_document`."""
    return {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "environment": dict(spec.environment),
        "web": _web_document(spec.web) if spec.web else None,
        "config": dict(spec.config),
        "services": {name: _service_document(service) for name, service in spec.services.items()},
    }


def _web_document(web: WebSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"service": web.service, "port": web.port}
    return document if web.access == "public" else {**document, "access": web.access}


def _service_document(service: ServiceSpec) -> dict[str, Any]:
    return {
        "type": service.type,
        "source": service.source,
        "image": service.image,
        "command": list(service.command) if isinstance(service.command, tuple) else service.command,
        "environment": dict(service.environment),
        "port_bindings": [
            {
                "container_port": binding.container_port,
                "protocol": binding.protocol,
                "host_port": binding.host_port,
            }
            for binding in service.port_bindings
        ],
        "build": dict(service.build),
        "requests": dict(service.requests),
    }


def spec_from_document(document: Mapping[str, Any]) -> ChuteSpec:
    """Returns the chute that `to_document` described."""
    return ChuteSpec(
        name=document["name"],
        services={name: _service_from(name, service) for name, service in document["services"].items()},
        version=document["version"],
        description=document["description"],
        environment=document["environment"],
        web=WebSpec(**document["web"]) if document["web"] else None,
        config=document["config"],
    )


def _service_from(name: str, document: Mapping[str, Any]) -> ServiceSpec:
    command = document["command"]
    return ServiceSpec(
        name=name,
        type=document["type"],
        source=document["source"],
        image=document["image"],
        command=tuple(command) if isinstance(command, list) else command,
        environment=document["environment"],
        port_bindings=tuple(PortBinding(**binding) for binding in document["port_bindings"]),
        build=document["build"],
        requests=document["requests"],
    )

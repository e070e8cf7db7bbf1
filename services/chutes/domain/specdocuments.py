"""Chutes as JSON documents of the new form, which is how they are stored and shown."""

from collections.abc import Mapping
from typing import Any

from services.chutes.domain import chutefields as fields
from services.chutes.domain.chuteforms import BUILD_KEYS
from services.chutes.domain.chuteyaml import invalid
from services.chutes.domain.interfaces import addresses, read_interfaces
from services.chutes.domain.spec import ChuteSpec, ServiceSpec, WebSpec


def to_document(spec: ChuteSpec) -> dict[str, Any]:
    """Returns a chute as JSON values, for `spec_from_document`."""
    return {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "environment": dict(spec.environment),
        "web": _web_document(spec.web) if spec.web else {},
        "config": dict(spec.config),
        "services": {name: _service_document(service) for name, service in spec.services.items()},
    }


def _web_document(web: WebSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"service": web.service, "port": web.port}
    return document if web.access == "public" else {**document, "access": web.access}


def _service_document(service: ServiceSpec) -> dict[str, Any]:
    requests = dict(service.requests)
    if service.port_bindings:
        requests["port-bindings"] = fields.port_map(service.port_bindings)
    return {
        "type": service.type,
        "source": service.source,
        "image": service.image,
        "command": list(service.command) if isinstance(service.command, tuple) else service.command,
        "environment": dict(service.environment),
        "build": dict(service.build),
        "interfaces": {name: dict(interface) for name, interface in service.interfaces.items()},
        "requests": requests,
        "dns": list(service.dns),
        "depends-on": list(service.depends_on),
        **({"restart": service.restart} if service.restart != "always" else {}),
    }


def spec_from_document(document: Mapping[str, Any]) -> ChuteSpec:
    """Returns the chute that `to_document` described."""
    return read_spec(document)


def read_spec(document: Mapping[str, Any]) -> ChuteSpec:
    """Returns the chute that a document of the new form describes, or raises InvalidArgument.

    The document fits the schema; "config" is the one of the old form.
    """
    services = {
        name: _service(name, given or {}, f"services.{name}") for name, given in document["services"].items()
    }
    return ChuteSpec(
        name=document["name"],
        services=services,
        version=document.get("version"),
        description=document.get("description") or "",
        environment=fields.environment(document.get("environment")),
        web=_web(document.get("web") or {}, services),
        config=document.get("config") or {},
    )


def _web(web: Mapping[str, Any], services: Mapping[str, ServiceSpec]) -> WebSpec | None:
    if not web or web.get("port") is None:
        return None
    service = web.get("service") or (next(iter(services)) if len(services) == 1 else "")
    return WebSpec(service, int(web["port"]), web.get("access") or "public")


def _service(name: str, given: Mapping[str, Any], field: str) -> ServiceSpec:
    if given.get("name") not in (None, name):
        raise invalid(f"{field}.name must be {name}, as the key is, or left out.", f"{field}.name")
    requests = {key: value for key, value in (given.get("requests") or {}).items() if value is not None}
    ports = f"{field}.requests.port-bindings"
    build = given.get("build") or {}
    depends_on = dict.fromkeys(given.get("depends-on") or ())
    return ServiceSpec(
        name=name,
        type=given.get("type") or "normal",
        source=given.get("source") or ".",
        image=given.get("image"),
        command=fields.command(given.get("command"), f"{field}.command"),
        environment=fields.environment(given.get("environment")),
        port_bindings=fields.port_bindings(requests.pop("port-bindings", None), ports),
        build={key: build[key] for key in BUILD_KEYS if build.get(key) is not None},
        interfaces=read_interfaces(given.get("interfaces"), f"{field}.interfaces"),
        requests=requests,
        dns=addresses(fields.texts(given.get("dns")), f"{field}.dns"),
        depends_on=tuple(depends_on),
        # YAML reads a bare "no" as false.
        restart="no" if given.get("restart") is False else given.get("restart") or "always",
        memory_limit_bytes=fields.memory_bytes(
            requests.get("memory-limit"), f"{field}.requests.memory-limit"
        ),
    )

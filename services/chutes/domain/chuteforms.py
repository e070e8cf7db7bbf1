"""Turns the old form of paradrop.yaml, which describes a single service, into the new form."""

from collections.abc import Mapping
from typing import Any

from services.chutes.domain.chuteschema import refuse_violations
from services.chutes.domain.chuteyaml import invalid
from services.chutes.domain.interfaces import old_to_new
from services.chutes.domain.spec import ChuteSpec
from services.common.errors import InvalidArgument

OLD_FORM_SERVICE = "main"
OLD_KEYS = ("type", "use", "command", "as_root", "source", "net", "credentials")
"""Keys at the top that only the old form has."""
BUILD_KEYS = ("packages", "image_source", "image_version")
_KEPT = ("name", "description", "version", "owner", "environment")

_OLD_WORDS = (
    (f"services.{OLD_FORM_SERVICE}.requests.port-bindings", "config.host_config.port_bindings"),
    (f"services.{OLD_FORM_SERVICE}.requests.network-mode", "config.host_config.network_mode"),
    (f"services.{OLD_FORM_SERVICE}.requests.privileged", "config.host_config.privileged"),
    (f"services.{OLD_FORM_SERVICE}.interfaces", "config.net"),
    (f"services.{OLD_FORM_SERVICE}.image", "use"),
    (f"services.{OLD_FORM_SERVICE}.", ""),
)


def new_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a document that fits the schema describes, in the new form, without `config`."""
    if "services" in document:
        return {key: value for key, value in document.items() if key not in ("config", "download")}
    config = document.get("config") or {}
    host_config = config.get("host_config") or {}
    requests = {
        "as-root": document.get("as_root"),
        "port-bindings": host_config.get("port_bindings"),
        "network-mode": host_config.get("network_mode"),
        "privileged": host_config.get("privileged"),
    }
    service = {
        "type": document.get("type"),
        "image": document.get("use"),
        "command": document.get("command"),
        "credentials": document.get("credentials"),
        "environment": config.get("environment"),
        "build": {key: config[key] for key in BUILD_KEYS if config.get(key) is not None},
        "interfaces": {
            **old_to_new(document.get("net"), "net"),
            **old_to_new(config.get("net"), "config.net"),
        },
        "requests": {key: value for key, value in requests.items() if value is not None},
    }
    web = {**(config.get("web") or {})}
    return {
        **{key: document[key] for key in _KEPT if key in document},
        "web": {"service": OLD_FORM_SERVICE, **web} if web else {},
        "services": {OLD_FORM_SERVICE: service},
    }


def as_old_form(spec: ChuteSpec) -> dict[str, Any]:
    """Returns what the old form says of a chute's only service outside of "config"."""
    service = spec.services[OLD_FORM_SERVICE]
    command = service.command
    return {
        "type": service.type,
        "use": service.image,
        "command": list(command) if isinstance(command, tuple) else command,
        "as_root": service.requests.get("as-root"),
        "config": dict(spec.config),
    }


def with_networks(document: Mapping[str, Any], net: Any) -> dict[str, Any]:
    """Returns the services of a document of the new form, the only one with networks of the old form."""
    services = document["services"]
    if len(services) != 1:
        raise invalid("net is for chutes with one service; use services.NAME.interfaces.", "net")
    # A description by itself, so that what is wrong is told with its place.
    refuse_violations({"name": "x", "net": net})
    ((name, service),) = services.items()
    return {"services": {name: {**service, "interfaces": old_to_new(net, "net")}}}


def in_old_words(error: InvalidArgument) -> InvalidArgument:
    """Returns an error about the new form with the names that its author used."""
    for new, old in _OLD_WORDS:
        if error.field is not None and error.field.startswith(new):
            message = str(error).replace(new, old)
            field = old + error.field[len(new) :]
            return InvalidArgument(message, reason=error.reason, field=field)
    return error

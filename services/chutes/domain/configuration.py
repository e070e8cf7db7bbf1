"""Configurations of installed chutes: what is shown, and what it means when it is sent back altered.

A body with "services" is a whole specification, as it is shown: what is left out of it is taken away. One
without is the old form, or only its whole "config" section. For a chute that has never been of the old form,
keys at the top replace the chute's, and "net" the networks of its only service.
"""

from collections.abc import Mapping
from typing import Any

from services.chutes.domain.chute import Chute
from services.chutes.domain.chutefile import read_definition, without_secrets
from services.chutes.domain.chuteforms import OLD_FORM_SERVICE, as_old_form, with_networks
from services.chutes.domain.chuteyaml import invalid, plain_mapping
from services.chutes.domain.errors import config_missing
from services.chutes.domain.spec import Definition
from services.chutes.domain.specdocuments import to_document

_READ_ONLY = {
    "name": "remove the chute and install it anew to give it another",
    "owner": "it is always who installed the chute",
    "state": "start and stop the chute with POST …/start and POST …/stop",
}
_TOP_KEYS = ("description", "version", "environment")
_OLD_DOCUMENT_KEYS = ("config", "type", "use", "command", "as_root")
"""With any of them, a body without services is the whole old form and not just its "config" section."""


def document(chute: Chute) -> dict[str, Any]:
    """Returns the full specification of a chute, which `read` takes back."""
    described = to_document(chute.spec)
    services = described["services"].items()
    return {
        **described,
        "services": {name: {"name": name, "dockerfile": None, **service} for name, service in services},
        "version": chute.version,
        "owner": chute.owner.to_document(),
        "state": chute.desired,
        "environment": dict(chute.environment),
    }


def read(chute: Chute, body: Mapping[str, Any]) -> Definition:
    """Returns what a chute is to be, or raises InvalidArgument with the fields that are wrong."""
    if not body:
        raise config_missing()
    body = plain_mapping(body)
    present = document(chute)
    for key, advice in _READ_ONLY.items():
        if body.get(key) not in (None, present[key]):
            raise invalid(f"{key} cannot be changed: {advice}.", key)
    if body.get("download") or _mapping(body.get("config")).get("download"):
        advice = f"PUT /api/v1/chutes/{chute.name} fetches the chute anew"
        raise invalid(f"download cannot be part of a configuration; {advice}.", "download")
    given = {key: value for key, value in body.items() if key not in _READ_ONLY}
    named = _mapping(given.get("config")).get("name")
    if named not in (None, chute.name):
        raise invalid(f"config.name cannot be changed: {_READ_ONLY['name']}.", "config.name")
    return read_definition({**_whole(chute, given, present), "name": chute.name})


def partial(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what has to be read again when its turn comes, for changes before it may alter the rest.

    None for a body that says all by itself. Credentials are left out.
    """
    if "services" in body:
        return None
    return without_secrets(
        {key: value for key, value in plain_mapping(body).items() if key not in _READ_ONLY}
    )


def _whole(chute: Chute, given: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    if "services" in given:
        return _from_services(chute, given, present)
    if chute.spec.config or any(key in given for key in _OLD_DOCUMENT_KEYS):
        return _from_old_form(chute, given, present)
    whole = {key: present[key] for key in (*_TOP_KEYS, "web", "services")}
    if "net" in given:
        whole |= with_networks(whole, given["net"])
    return {**whole, **{key: value for key, value in given.items() if key != "net"}}


def _from_services(chute: Chute, given: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Reads what is shown: a chute of the old form is shown in both, and either may be edited."""
    whole = {key: value for key, value in given.items() if key != "config"}
    config = _mapping(given.get("config"))
    same_config, same_services = config == present["config"], given["services"] == present["services"]
    same_web = _mapping(given.get("web")) == present["web"]
    if same_config and not (same_services and same_web and config):
        return whole
    if not (same_services and same_web):
        raise invalid(
            "config and services say the same in two forms; change one of them, or leave out config.",
            "config",
        )
    top = {key: given[key] for key in _TOP_KEYS if key in given}
    return _from_old_form(chute, {**top, "config": config}, {**present, **dict.fromkeys(_TOP_KEYS)})


def _from_old_form(chute: Chute, given: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    if list(chute.spec.services) != [OLD_FORM_SERVICE]:
        raise invalid("services is missing; the chute cannot be described in the old form.", "services")
    kept = {key: present[key] for key in _TOP_KEYS}
    if any(key in given for key in _OLD_DOCUMENT_KEYS):
        return {**kept, **as_old_form(chute.spec), **given}
    top = {key: value for key, value in given.items() if key in ("description", "version")}
    config = {key: value for key, value in given.items() if key not in top}
    return {**kept, **as_old_form(chute.spec), **top, "config": config}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

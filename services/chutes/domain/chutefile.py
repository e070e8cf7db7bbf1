"""Turns descriptions of chutes, in their old and their new form, into what a chute is."""

from collections.abc import Mapping
from typing import Any

from services.chutes.domain.chuteforms import in_old_words, new_form
from services.chutes.domain.chuteschema import refuse_violations
from services.chutes.domain.chuteyaml import invalid, load_mapping
from services.chutes.domain.downloads import read_download
from services.chutes.domain.light import LIGHT_IMAGES
from services.chutes.domain.spec import ChuteSpec, Credentials, Definition
from services.chutes.domain.specdocuments import read_spec
from services.common.errors import InvalidArgument


def parse_chute_file(content: bytes) -> Definition:
    """Returns what a paradrop.yaml describes, or raises which fields are wrong and why."""
    return read_definition(load_mapping(content))


def read_definition(document: Mapping[str, Any]) -> Definition:
    """Returns what a description of JSON values means, or raises which fields are wrong and why."""
    refuse_violations(document)
    old = "services" not in document
    try:
        described = new_form(document)
        config = {key: value for key, value in (document.get("config") or {}).items() if key != "download"}
        name = document.get("name") or config["name"]
        spec = read_spec({**described, "name": name, "config": config if old else {}})
        _check_services(spec)
        credentials = {
            name: given
            for name, service in described["services"].items()
            if (given := _credentials(name, service or {})) is not None
        }
    except InvalidArgument as error:
        raise (in_old_words(error) if old else error) from None
    return Definition(spec, without_secrets(document), read_download(document), credentials)


def _check_services(spec: ChuteSpec) -> None:
    if spec.web is not None and spec.web.service not in spec.services:
        known = ", ".join(spec.services)
        raise invalid(f"web.service must be one of the services ({known}).", "web.service")
    for name, service in spec.services.items():
        field = f"services.{name}"
        if service.type == "image" and service.image is None:
            raise invalid(f"{field}.image is missing; it must name the image to take.", f"{field}.image")
        if service.type == "light":
            if service.image not in LIGHT_IMAGES:
                known = ", ".join(sorted(LIGHT_IMAGES))
                raise invalid(f"{field}.image of a light service must be one of {known}.", f"{field}.image")
            if service.command is None:
                raise invalid(f"{field}.command is missing; a light service needs one.", f"{field}.command")
        if service.network_mode != "bridge" and (service.port_bindings or service.interfaces):
            where = f"{field}.requests.network-mode"
            raise invalid(
                f"{where} {service.network_mode} leaves no ports to bind and no interfaces; "
                "leave them out, or the network-mode.",
                where,
            )
    _check_dependencies(spec)


def _check_dependencies(spec: ChuteSpec) -> None:
    """Refuses services that wait for themselves, by whatever way."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        field = f"services.{way[-1]}.depends-on" if way else ""
        if name not in spec.services:
            raise invalid(f"{field} names {name[:40]}, which is no service of the chute.", field)
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise invalid(f"{field} makes services wait for each other in a circle: {circle}.", field)
        if name not in done:
            for other in spec.services[name].depends_on:
                visit(other, (*way, name))
            done.add(name)

    for service in spec.services:
        visit(service, ())


def _credentials(name: str, service: Mapping[str, Any]) -> Credentials | None:
    given = service.get("credentials") or {}
    user, secret = given.get("user"), given.get("secret")
    if not user and not secret:
        return None
    if service.get("type") != "image":
        field = f"services.{name}.credentials"
        raise invalid(f"{field} are for services of the type image; leave them out.", field)
    return Credentials(user or "", secret or "")


def without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a description without where files come from and without credentials."""
    kept = {key: value for key, value in document.items() if key not in ("download", "credentials")}
    if kept.get("config"):
        kept["config"] = {key: value for key, value in kept["config"].items() if key != "download"}
    if "services" in kept:
        kept["services"] = {
            name: {key: value for key, value in (service or {}).items() if key != "credentials"}
            for name, service in kept["services"].items()
        }
    return kept

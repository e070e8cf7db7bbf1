"""Archives of chutes: what they hold, and what it means when one is read.

An archive is a gzipped tar with the members named here, in this order. The description is the one of the
chute as it is, which may be another than the one among its files.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from services.chutes.domain.chute import Chute
from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.chuteforms import as_old_form
from services.chutes.domain.chuteyaml import CHUTE_FILE, invalid, load_mapping
from services.chutes.domain.errors import archive_invalid, archive_too_new
from services.chutes.domain.spec import ChuteSpec, Definition
from services.chutes.domain.specdocuments import to_document

FORMAT = 1
MANIFEST = "paradrop-chute.json"
DESCRIPTION = CHUTE_FILE
SOURCES, DATA = "sources", "data"
CHECKSUM = "checksum.json"
MAX_MANIFEST_BYTES = 64 * 1024
MAX_DEPTH = 64
"""Folders within each other in the data."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the first member of an archive says."""

    name: str
    """Name that the chute had."""
    data_bytes: int = 0
    """How large its data was when the export began."""


def manifest(chute: Chute, data_bytes: int, time_s: float) -> bytes:
    """Returns the first member of the archive of a chute."""
    document = {
        "format": FORMAT,
        "name": chute.name,
        "version": chute.version,
        "time_s": int(time_s),
        "data_bytes": data_bytes,
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def read_manifest(content: bytes) -> Manifest:
    """Returns what the first member says, or raises ARCHIVE_INVALID or ARCHIVE_TOO_NEW."""
    document = _object(content, MANIFEST)
    number = document.get("format")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise archive_invalid(f"{MANIFEST} has no format.")
    if number > FORMAT:
        raise archive_too_new(number, FORMAT)
    name, data_bytes = document.get("name"), document.get("data_bytes", 0)
    if not isinstance(name, str) or not isinstance(data_bytes, int) or data_bytes < 0:
        raise archive_invalid(f"{MANIFEST} does not say name and data_bytes.")
    return Manifest(name, data_bytes)


def checksum(sha256: str, skipped: int) -> bytes:
    """Returns the last member; `skipped` is how much of the data no archive can hold."""
    return json.dumps({"sha256": sha256, "skipped": skipped}).encode() + b"\n"


def read_checksum(content: bytes) -> str:
    """Returns the SHA-256 in the last member, in hexadecimal, or raises ARCHIVE_INVALID."""
    digest = _object(content, CHECKSUM).get("sha256")
    if not isinstance(digest, str):
        raise archive_invalid(f"{CHECKSUM} holds no sha256.")
    return digest


def description(chute: Chute) -> bytes:
    """Returns a paradrop.yaml that describes a chute as it is now."""
    spec = replace(chute.spec, environment=chute.environment)
    document = _document(spec)
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return text.encode()


def _document(spec: ChuteSpec) -> dict[str, Any]:
    """Describes a chute in its own form if that says all of it."""
    given: dict[str, Any] = {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "environment": dict(spec.environment),
    }
    top = {key: value for key, value in given.items() if value not in (None, "", {})}
    if spec.config:
        old = {**top, **{key: value for key, value in as_old_form(spec).items() if value is not None}}
        if read_definition(old).spec == spec:
            return old
    new = to_document(spec)
    return {**top, "web": new["web"], "services": new["services"]}


def read_description(content: bytes, name: str) -> Definition:
    """Returns the chute that is described, under another name unless that is empty."""
    document = load_mapping(content)
    if document.get("download") or (document.get("config") or {}).get("download"):
        raise invalid("download cannot be part of an archive; leave it out.", "download")
    return read_definition({**document, "name": name} if name else document)


class _Dumper(yaml.SafeDumper):
    """Writes texts in quotes, so that no reader takes 1.5e3 or no for something else, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')


_Dumper.add_representer(str, _Dumper.represent_str)


def _object(content: bytes, member: str) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise archive_invalid(f"{member} is not a JSON object.")
    return document


def require_complete(spec: ChuteSpec, has_sources: bool) -> None:
    """Raises ARCHIVE_INVALID if an archive lacks the files that a service is built from."""
    for name, service in spec.services.items():
        if service.type != "image" and not has_sources:
            raise archive_invalid(f"service {name} is built from files, and there are none in {SOURCES}/.")

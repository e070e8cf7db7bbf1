"""An installed chute, as the node records it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from services.chutes.domain.spec import ChuteSpec
from services.chutes.domain.specdocuments import spec_from_document, to_document
from services.common.identity import LOCAL_DOMAIN, Principal

Version = str | int | float
Desired = Literal["running", "stopped"]

MAX_TAG_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something or owns something."""

    name: str
    domain: str
    role: str

    @classmethod
    def of(cls, principal: Principal) -> "Actor":
        """Returns the actor behind a verified caller."""
        return cls(principal.name, principal.domain, principal.role.name.lower())

    def to_document(self) -> dict[str, str]:
        """Returns what is stored."""
        return {"name": self.name, "domain": self.domain, "role": self.role}


NODE = Actor("__paradrop__", LOCAL_DOMAIN, "owner")
"""The node itself, for what it does on its own account."""


@dataclass(frozen=True, slots=True)
class Chute:
    """A chute that is installed, or would be after a change."""

    spec: ChuteSpec
    owner: Actor
    version: Version
    images: Mapping[str, str]
    """Service to the tag of its image."""
    create_time_s: float
    desired: Desired = "running"
    environment: Mapping[str, str] = field(default_factory=dict)
    """What all services get; the author's, until somebody starts the chute with another."""
    token: str = field(default="", repr=False)
    network_interfaces: Sequence[Mapping[str, Any]] = ()
    """What the network service gave it, as the cache shows it."""
    sources: str = ""
    """Workspace with the files that its images are built from; empty if there are none."""

    @property
    def name(self) -> str:
        """The name, unique on the node."""
        return self.spec.name

    @property
    def containers(self) -> Mapping[str, str]:
        """Service to the name of its container."""
        return {service: self.spec.container_name(service) for service in self.spec.services}

    def to_document(self) -> dict[str, Any]:
        """Returns what is stored."""
        return {
            "spec": to_document(self.spec),
            "owner": self.owner.to_document(),
            "version": self.version,
            "images": dict(self.images),
            "create_time_s": self.create_time_s,
            "desired": self.desired,
            "environment": dict(self.environment),
            "token": self.token,
            "network_interfaces": [dict(interface) for interface in self.network_interfaces],
            "sources": self.sources,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Chute":
        """Returns what `to_document` described."""
        return cls(
            spec=spec_from_document(document["spec"]),
            owner=Actor(**document["owner"]),
            version=document["version"],
            images=document["images"],
            create_time_s=document["create_time_s"],
            desired=document["desired"],
            environment=document["environment"],
            token=document["token"],
            network_interfaces=tuple(document.get("network_interfaces", ())),
            sources=document.get("sources", ""),
        )


def image_tags(spec: ChuteSpec, version: Version, change_id: int, taken: Mapping[str, str]) -> dict[str, str]:
    """Returns the image tag of each service, never one of `taken`.

    The images of the installed chute must outlive a failed update to the same version, so a tag that one of
    them has is extended by the id of the change.
    """
    text = re.sub(r"[^A-Za-z0-9_.-]", "-", str(version)).lstrip(".-")[:MAX_TAG_CHARACTERS] or "x"
    tags = {service: spec.image_tag(service, text) for service in spec.services}
    used = set(taken.values())
    if used.isdisjoint(tags.values()):
        return tags
    return {service: spec.image_tag(service, f"{text}-{change_id}") for service in spec.services}


def is_newer(version: Version | None, installed: Version) -> bool:
    """Tells whether a version may replace the installed one.

    An upload is named "x" and the time of it, and is newer than everything: a node without a battery-backed
    clock may well upload in what looks like the past. A number is older than a text, as the original has it.
    """
    if version is None:
        return False
    if isinstance(version, str) and re.fullmatch(r"x\d+", version):
        return True
    return _sort_key(version) > _sort_key(installed)


def _sort_key(version: Version) -> tuple[int, list[tuple[int, float, str]]]:
    if not isinstance(version, str):
        return 0, [(1, float(version), "")]
    return 1, list(_parts(version))


def _parts(text: str) -> Iterator[tuple[int, float, str]]:
    for part in re.findall(r"[0-9]+|[A-Za-z]+", text):
        yield (2, float(part), "") if part.isdecimal() else (0, 0.0, part.lower())
    yield 1, 0.0, ""  # So that 1.0-rc1 comes before 1.0, and 1.0 before 1.0.1.

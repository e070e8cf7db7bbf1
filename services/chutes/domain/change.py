"""A change: something that takes time and alters the node."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from services.chutes.domain.chute import Actor, Chute, Version
from services.chutes.domain.spec import ChuteSpec, Credentials, Download
from services.chutes.domain.specdocuments import spec_from_document, to_document

NODE_NAME = "__PARADROP__"
"""What changes of the node itself have in the place of a chute's name; no chute can be called so."""

UpdateClass = Literal["CHUTE", "ROUTER"]
Status = Literal["queued", "processing", "succeeded", "failed"]
Phase = Literal["waiting", "doing", "undoing", "finishing", "ended"]
"""Where the executor is; finishing begins with the commit and can only go forward."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a change failed."""

    reason: str
    message: str
    undone: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """What a change waits for."""

    reason: str
    """"EARLIER_CHANGE", "EXCLUSIVE_CHANGE", "ENGINE_DOWN" or "UPDATE_LOCKED"."""
    message: str


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms somebody asks for a change, whatever it is."""

    request_id: str = ""
    """What the caller calls the request: sent again, it makes no second change. Empty if nothing."""
    force: bool = False
    """Whether the update lock of the chute does not count."""
    keep_data: bool = False
    """Whether the data of a chute that is removed stays for its owner's next one of the name."""

    def to_document(self) -> dict[str, Any]:
        """Returns what is stored."""
        return {"request_id": self.request_id, "force": self.force, "keep_data": self.keep_data}


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for."""

    type: str
    """"create", "update", "start", "stop", "restart" or "delete", or a kind of change of the node."""
    chute: str
    """Name of the chute; `NODE_NAME` for the node itself."""
    user: Actor
    version: Version | None = None
    """Version the change is listed with; for an upload "x" and its time."""
    spec: ChuteSpec | None = None
    """What to install, for create and update; what it is to be, for a restart with another configuration."""
    workspace: str | None = None
    """Name of the folder that the upload was unpacked to."""
    data: str | None = None
    """Name of the folder that the data of an imported chute was unpacked to."""
    environment: Mapping[str, str] | None = None
    """Replaces the environment, for start and restart."""
    payload: Mapping[str, Any] | None = None
    """What a change of the node was asked for with."""
    terms: Terms = NO_TERMS
    only_fallen: bool = False
    """Whether a restart leaves the services alone that run."""
    download: Download | None = None
    """Where the files are, as long as they have to be fetched."""
    document: Mapping[str, Any] | None = None
    """What was said of a chute whose files have to be fetched; it goes before what they say.

    For a restart with another configuration: what was given, to be joined with the chute as it is then."""
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """Service to who fetches its image."""

    @property
    def update_class(self) -> UpdateClass:
        """Whether a chute is changed or the node itself."""
        return "ROUTER" if self.chute == NODE_NAME else "CHUTE"

    def to_document(self) -> dict[str, Any]:
        """Returns what is stored."""
        return {
            "type": self.type,
            "chute": self.chute,
            "user": self.user.to_document(),
            "version": self.version,
            "spec": to_document(self.spec) if self.spec else None,
            "workspace": self.workspace,
            "data": self.data,
            "environment": dict(self.environment) if self.environment is not None else None,
            "payload": self.payload,
            "terms": self.terms.to_document(),
            "only_fallen": self.only_fallen,
            "download": asdict(self.download) if self.download else None,
            "document": self.document,
            "credentials": {service: asdict(given) for service, given in self.credentials.items()},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Request":
        """Returns what `to_document` described."""
        spec = document["spec"]
        known = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(
            **{
                **known,
                "user": Actor(**document["user"]),
                "spec": spec_from_document(spec) if spec else None,
                "download": _download(document.get("download")),
                "credentials": {
                    service: Credentials(**given)
                    for service, given in (document.get("credentials") or {}).items()
                },
                "terms": Terms(**document.get("terms", {})),
            }
        )

    @property
    def unpacked(self) -> tuple[str, ...]:
        """The folders that were unpacked for it."""
        return tuple(name for name in (self.workspace, self.data) if name is not None)

    def without_payload(self) -> "Request":
        """Returns what is still told of the request when the change has ended."""
        return replace(
            self,
            spec=None,
            workspace=None,
            data=None,
            environment=None,
            payload=None,
            download=None,
            document=None,
            credentials={},
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the plan of a change follows from, so that it can be made again after a crash."""

    change_id: int
    type: str
    old: Chute | None
    new: Chute | None
    workspace: str | None = None
    data: str | None = None
    """Where imported data is that takes the place of what the chute has."""
    statuses: Mapping[str, str] = field(default_factory=dict)
    """Container of the old chute to its status; one that is absent has none."""
    host_ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Container of the old chute to its published ports, such as "80/tcp" to 49153."""
    payload: Mapping[str, Any] | None = None
    """What a change of the node was asked for with; None for a change of a chute."""
    untouched: tuple[str, ...] = ()
    """Services whose containers stay as they are."""
    heeds_lock: bool = False
    """Whether the containers stay as long as the chute has its update lock."""
    keeps_data: bool = False
    """Whether the data stays when the chute goes."""
    takes_kept: bool = False
    """Whether a new chute gets what its owner has kept of an earlier one."""
    missing: tuple[str, ...] = ()
    """Services whose image is gone from the engine."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a change of the node found before it began."""
    credentials: Mapping[str, Credentials] = field(default_factory=dict, compare=False)
    """Service to who fetches its image. Not stored here: what is done again begins with the request."""

    def to_document(self) -> dict[str, Any]:
        """Returns what is stored."""
        return {
            "change_id": self.change_id,
            "type": self.type,
            "old": self.old.to_document() if self.old else None,
            "new": self.new.to_document() if self.new else None,
            "workspace": self.workspace,
            "data": self.data,
            "statuses": dict(self.statuses),
            "host_ports": {container: dict(ports) for container, ports in self.host_ports.items()},
            "payload": self.payload,
            "untouched": list(self.untouched),
            "heeds_lock": self.heeds_lock,
            "keeps_data": self.keeps_data,
            "takes_kept": self.takes_kept,
            "missing": list(self.missing),
            "facts": self.facts,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Situation":
        """Returns what `to_document` described."""
        old, new = document["old"], document["new"]
        return cls(
            **{
                **document,
                "old": Chute.from_document(old) if old else None,
                "new": Chute.from_document(new) if new else None,
                "untouched": tuple(document.get("untouched", ())),
                "missing": tuple(document.get("missing", ())),
            }
        )


def _download(document: Mapping[str, Any] | None) -> Download | None:
    if document is None:
        return None
    credentials = document["credentials"]
    return Download(**{**document, "credentials": Credentials(**credentials) if credentials else None})


@dataclass(slots=True)
class Change:
    """A change and how far it has come; altered only by the queue and its executor."""

    id: int
    request: Request
    create_time_s: float
    status: Status = "queued"
    phase: Phase = "waiting"
    step: str = ""
    percent: int = 0
    attempts: int = 0
    """How often it began; a crash costs one."""
    failure: Failure | None = None
    start_time_s: float | None = None
    end_time_s: float | None = None
    situation: Situation | None = None
    waiting: Wait | None = None
    """What it waits for: before it begins, or for the end of an update lock on its way."""
    cancelled_by: str = ""
    """Name of the user who does not want it any more."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.phase == "ended"

"""What must be on a node after changes that succeeded or failed, whatever happened on the way."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

CHUTES = ("web", "log")
SERVICES = {"web": ("front", "back"), "log": ("main",)}
TAKING_DOWN = ("update", "import", "ill", "stop", "restart", "configure", "delete")
"""What an update lock holds back."""
UPLOADS = ("install", "update", "import", "ill", "cancel")
CREATING = (*UPLOADS, "start", "restart", "configure")


@dataclass(frozen=True)
class Action:
    """What somebody asks for, and what is special about it."""

    kind: str
    chute: str
    forced: bool = False
    """Whether an update lock does not count."""
    repeated: bool = False
    """Whether the same request is sent again, with its idempotency key."""
    count: int = 1
    """So many changes are asked for at once, where that makes sense."""


KINDS = (
    *("install", "update", "update", "import", "start", "stop", "restart", "delete", "configure"),
    *("ill", "cancel", "lock", "unlock"),
)
actions = st.builds(
    Action,
    st.sampled_from(KINDS),
    st.sampled_from(CHUTES),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
)


@dataclass
class Expected:
    """What must be of a chute."""

    version: int
    kept: str
    """What its data folder holds from its installation or import on."""
    runs: bool = True
    colour: str = "green"
    locked: bool = False


@dataclass
class Model:
    """What must be there."""

    chutes: dict[str, Expected] = field(default_factory=dict)
    version: int = 0
    """The last that anything was asked for with."""

    def allows(self, action: Action) -> bool:
        """Tells whether the change may be asked for at all."""
        known = self.chutes.get(action.chute)
        if action.kind == "install":
            return known is None
        if known is None:
            return action.kind in ("update", "import", "ill", "cancel")
        refused = {"start": known.runs, "stop": not known.runs, "lock": known.locked}
        return not refused.get(action.kind, False)

    def waits(self, action: Action) -> bool:
        """Tells whether the update lock of the chute holds the change back."""
        known = self.chutes.get(action.chute)
        return (
            known is not None
            and known.runs
            and known.locked
            and action.kind in TAKING_DOWN
            and not action.forced
        )

    def running(self) -> dict[str, Expected]:
        """Returns the chutes that must run."""
        return {name: chute for name, chute in self.chutes.items() if chute.runs}

    def containers(self) -> set[str]:
        """Returns the names of the containers that must run, and of no others."""
        return {f"{name}-{service}" for name in self.running() for service in SERVICES[name]}

    def done(self, action: Action, version: int) -> None:
        """Notes a change that has succeeded; `version` is what it was asked for with."""
        name, known = action.chute, self.chutes.get(action.chute)
        if action.kind == "delete":
            del self.chutes[name]
        elif action.kind == "import":
            # It brings all that the data folder holds: what was there goes, the lock included.
            self.chutes[name] = Expected(version, f"data {version}")
        elif action.kind in ("install", "update", "cancel"):
            self.chutes[name] = Expected(
                version,
                known.kept if known else f"since version {version}",
                locked=known is not None and known.locked,
            )
        elif known is not None:
            known.runs = action.kind != "stop"
            if action.kind == "configure":
                known.colour = "red"

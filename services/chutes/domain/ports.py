"""What the domain needs from the world outside."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from services.chutes.domain.chute import Chute
from services.chutes.domain.spec import Credentials, Download, NetworkMode, PortBinding
from services.common.feed import Subscription

OnLine = Callable[[str], None]
"""Takes one line of progress; called in the event loop."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine last said of one of our containers."""

    name: str
    chute: str
    service: str
    status: str
    """"created", "running", "paused", "restarting", "removing", "exited" or "dead"."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Published port such as "80/tcp" to port on the node."""
    exit_code: int | None = None
    health: str = ""
    """"starting", "healthy" or "unhealthy" by the image's health check; "" without one."""
    id: str = ""
    address: str = ""
    """IP address at which the node reaches it; empty if it has none."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a container has used since it started, and uses now."""

    time_s: float
    """Seconds since 1970."""
    cpu_ns: int
    memory_bytes: int
    """Without files that the kernel only keeps because there is room."""
    memory_limit_bytes: int | None
    received_bytes: int
    sent_bytes: int
    read_bytes: int
    """From disks, as `written_bytes` to them."""
    written_bytes: int
    pid_count: int


@dataclass(frozen=True, slots=True)
class WebSite:
    """Where the pages of a chute are, for the gateway."""

    chute: str
    access: str
    """As `WebSpec.access`."""
    address: str = ""
    """IP address of the container; empty while it does not run."""
    port: int = 0


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """Everything the engine needs to create a container."""

    name: str
    chute: str
    service: str
    image: str
    network: str
    """Name of the chute's own network; the container is also on the default bridge."""
    aliases: Sequence[str]
    environment: Mapping[str, str]
    volumes: Mapping[Path, tuple[str, str]]
    """Folder on the node to (folder in the container, "rw" or "ro")."""
    ports: Sequence[PortBinding] = ()
    command: str | Sequence[str] | None = None
    user: str | None = None
    """None leaves it to the image."""
    network_mode: NetworkMode = "bridge"
    """With "host" and "none" it is neither on the default bridge nor on the chute's network."""
    privileged: bool = False
    memory_limit_bytes: int | None = None
    dns: Sequence[str] = ()
    low_ports: bool = False
    """Whether others than root may listen on ports below 1024."""


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """One line of a container's output."""

    service: str
    timestamp_ns: int
    """Nanoseconds since 1970."""
    message: str


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """From when until when, both included, in nanoseconds since 1970; None has no end."""

    since_ns: int | None = None
    until_ns: int | None = None


ALWAYS = TimeSpan()


class Engine(Protocol):
    """A container engine. Every call raises a DomainError that says what failed.

    `Unavailable` (ENGINE_DOWN) when the engine does not answer. Everything that is created carries labels of
    this node, and nothing without them is ever changed or removed. Removing what is absent is no error.
    """

    @property
    def available(self) -> bool:
        """Whether the engine answered last."""

    def containers(self) -> Mapping[str, ContainerState] | None:
        """Returns our containers by name as the engine's events last told; None if it cannot be asked.

        Costs no call to the engine.
        """

    async def processes(self) -> Mapping[tuple[str, str], int]:
        """Returns the number of the main process of each running container by chute and service."""

    def subscribe(self) -> AbstractContextManager[Subscription[None]]:
        """Tells, for the time of the context, when `available` or `containers` may have changed."""

    async def refresh(self) -> None:
        """Asks the engine once for all our containers, so that `containers` is up to date now."""

    async def build_image(
        self,
        tag: str,
        chute: str,
        context: Path,
        on_line: OnLine,
        *,
        source: str = ".",
        dockerfile: str | None = None,
    ) -> None:
        """Builds a folder with a Dockerfile into an image.

        A folder `source` within it takes its place if that has a Dockerfile of its own. `dockerfile` is the
        text of one that takes the place of what the folder has.
        A tag that is taken by an image which is not ours raises AlreadyExists (IMAGE_NAME_TAKEN). A failed
        build raises FailedPrecondition (IMAGE_BUILD_FAILED) with the engine's last words. When the caller is
        cancelled the engine stops building.
        """

    async def pull_image(
        self, tag: str, chute: str, reference: str, on_line: OnLine, credentials: Credentials | None = None
    ) -> None:
        """Fetches an image from a registry and makes it an image of the chute.

        What was fetched stays as it is even if the registry has another under the name later. A registry that
        cannot be reached is done without if the engine has the image already. FailedPrecondition
        (IMAGE_PULL_FAILED, IMAGE_NOT_FOUND, REGISTRY_DENIED) if it cannot be had; IMAGE_NAME_TAKEN as above.
        """

    async def remove_image(self, tag: str) -> None:
        """Removes an image of ours by its tag."""

    async def free_bytes(self) -> int | None:
        """Returns how much room there is for images; None if that cannot be known from here."""

    async def has_image(self, tag: str) -> bool:
        """Tells whether an image of ours has this tag."""

    async def ensure_network(self, name: str, chute: str) -> None:
        """Creates a bridge network unless it is there.

        AlreadyExists (NETWORK_NAME_TAKEN) if there is one that is not ours.
        """

    async def remove_network(self, name: str) -> None:
        """Removes a network of ours."""

    async def create_container(self, plan: ContainerPlan) -> None:
        """Creates a container; AlreadyExists (CONTAINER_NAME_TAKEN) if a foreign one has the name.

        One of ours with the name is replaced.
        """

    async def start_container(self, name: str) -> None:
        """Starts a container of ours.

        FailedPrecondition (CONTAINER_START_FAILED, PORT_TAKEN) if it cannot be started.
        """

    async def remove_container(self, name: str) -> None:
        """Stops and removes a container of ours."""

    async def pause_container(self, name: str) -> None:
        """Holds a container of ours still; nothing if it does not run or is paused.

        FailedPrecondition (CONTAINER_PAUSE_FAILED) if the engine cannot do that.
        """

    async def resume_container(self, name: str) -> None:
        """Lets a paused container of ours go on; nothing if it is not paused or gone."""

    async def set_cpu_shares(self, name: str, shares: int) -> None:
        """Changes the weight of a container of ours, which may run; NotFound if there is none."""

    async def measure(self, containers: Sequence[ContainerState]) -> Mapping[str, Measurement]:
        """Returns what containers use, by their ids; those that have ended are left out.

        Asks the engine nothing where the kernel's own accounts can be read.
        """

    async def sweep(self, keep: Mapping[str, Sequence[str]], chutes: Sequence[str] | None = None) -> None:
        """Removes what is labelled as ours and is not wanted.

        `keep` maps "containers", "networks" and "images" (tags) to what stays. `chutes` limits the sweep to
        leftovers of these chutes; None sweeps everything of this node. Dangling layers of builds go as well.
        """

    def logs(
        self, container: str, service: str, tail: int, follow: bool, span: TimeSpan = ALWAYS
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[LoggedLine]]]:
        """Opens a container's output: batches of lines, oldest first. Bounded memory; closes at once.

        With a span the tail is that of all output, and may lie before or after it.
        """


class WebGate(Protocol):
    """The way from outside to the pages of chutes."""

    async def publish(self, sites: Sequence[WebSite]) -> None:
        """Lets these be reached, and no others. Raises OSError if that cannot be told to the gateway."""


class TrafficPriority(Protocol):
    """What goes first on the node's networks."""

    async def set(self, addresses: Sequence[str]) -> None:
        """Puts what these IPv4 addresses send first, and nothing else.

        FailedPrecondition (NFT_FAILED) if the node cannot do that.
        """


class TokenIssuer(Protocol):
    """Gives chutes their tokens."""

    async def issue(self, chute: str, former: str = "") -> str:
        """Issues a new token and ends the earlier one, which `restore` may bring back if it is `former`."""

    async def restore(self, chute: str, former: str) -> None:
        """Takes `issue` back; a token that had been revoked before stays revoked."""

    async def revoke(self, chute: str) -> None:
        """Ends the chute's token."""


class Fetcher(Protocol):
    """Fetches the files of chutes from elsewhere."""

    async def fetch(self, download: Download, workspace: str, on_line: OnLine) -> Mapping[str, Any] | None:
        """Brings files into a new workspace and returns what their paradrop.yaml says; None if it is absent.

        Raises a DomainError (DOWNLOAD_FAILED, DOWNLOAD_TOO_LARGE, DOWNLOAD_HOST_NOT_ALLOWED …) and leaves no
        workspace then. Neither the address nor the credentials are in any message.
        """


class Packer(Protocol):
    """Makes archives of chutes."""

    def pack(self, chute: Chute, reading: AbstractAsyncContextManager[None]) -> AsyncGenerator[bytes, None]:
        """Yields the archive of a chute in pieces, with bounded memory.

        `reading` is entered before the first byte of the data is read and left after the last one; the end of
        the archive is only made after that. Raises FailedPrecondition (DATA_UNREADABLE) and Aborted
        (CHUTE_CHANGED).
        """

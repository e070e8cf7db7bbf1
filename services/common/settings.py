"""Settings of the node, read from the environment once, and where its state lies."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

SERVICES = ("auth", "network", "airshark", "chutes", "node")
"""In the order of their calls: none calls one that comes after it."""

PREFIX = "PARADROP_"
MAX_UNIX_PATH_BYTES = 100
WEB_DOMAIN = "chute.paradrop.org"
"""Below it each chute has a host name of its own."""
STANDIN_RADIO_ID = "standin-wifi-0"
"""What stands in for a radio, where the setting for it is on."""
DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_MAX_UPLOAD_MIB = 1024
DEFAULT_CONCURRENT_BUILDS = 2
MAX_CONCURRENT_BUILDS = 16
DEFAULT_GRACE_S = 3.0
MAX_GRACE_S = 600.0


class SettingError(Exception):
    """A setting is wrong; the message names it and says what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says."""

    home: Path
    """PARADROP_HOME: the folder of everything that is kept."""
    runtime: Path
    """PARADROP_RUNTIME: the folder of the sockets; its path is short."""
    listen_host: str
    listen_port: int
    """PARADROP_LISTEN: where Envoy listens."""
    admin_password: str | None = field(repr=False)
    """PARADROP_ADMIN_PASSWORD, or the content of the file PARADROP_ADMIN_PASSWORD_FILE: password of the
    default user at the first start."""
    tls_cert: Path | None
    tls_key: Path | None
    """PARADROP_TLS_CERT and PARADROP_TLS_KEY: PEM files; both or none."""
    cors_origins: tuple[str, ...]
    """PARADROP_CORS_ORIGINS: origins of web pages elsewhere that may use the API, divided by commas."""
    docker_host: str | None
    """DOCKER_HOST: where the engine listens; default its usual socket."""
    max_upload_bytes: int
    """PARADROP_MAX_UPLOAD_MIB: largest upload and largest unpacked chute."""
    allow_privileged: bool
    """PARADROP_ALLOW_PRIVILEGED: whether chutes may have privileged containers."""
    allow_host_network: bool
    """PARADROP_ALLOW_HOST_NETWORK: whether chutes may have containers on the node's own network."""
    base_images: Mapping[str, str]
    """PARADROP_BASE_IMAGES: light image to base image, as in "python3=python:3.12,go=golang:1.22"."""
    download_hosts: tuple[str, ...]
    """PARADROP_DOWNLOAD_HOSTS: hosts of private networks that chutes may be fetched from, with commas."""
    download_ca: Path | None
    """PARADROP_DOWNLOAD_CA: PEM file of certificates to trust when fetching chutes; default the system's."""
    power: bool
    """PARADROP_POWER: 0 forbids restarting and halting this machine through the API."""
    discovery: bool
    """PARADROP_DISCOVERY: 0 keeps the node from answering those who look for nodes on its networks."""
    controller_ca: Path | None
    controller_cert: Path | None
    controller_key: Path | None
    """PARADROP_CONTROLLER_CA, _CERT and _KEY: PEM files for the link; default the built-in roots."""
    host_network: str
    """PARADROP_HOST_NETWORK: "managed" runs the host's own interfaces, "kept" leaves them alone."""
    allow_monitor_mode: bool
    """PARADROP_ALLOW_MONITOR_MODE: whether chutes may have whole radios to listen."""
    standin_radio: bool
    """PARADROP_STANDIN_RADIO: whether something stands in for a radio, on machines without any."""
    spectrum_scenario: Path | None
    """PARADROP_SPECTRUM_SCENARIO: scenario that Airshark simulates until a source is chosen; default none."""
    spectrum_recording: Path | None
    """PARADROP_SPECTRUM_RECORDING: a recording that is on the node as well, and that Airshark plays again and
    again until a source is chosen, as a second radio beside a scenario; default none."""
    concurrent_builds: int
    """PARADROP_CONCURRENT_BUILDS: so many images of chutes are built side by side; default 2."""
    grace_s: float
    """PARADROP_GRACE_S: so long a new version without a health check must run to be kept; default 3."""
    otlp_endpoint: str | None
    """PARADROP_OTLP_ENDPOINT: http://HOST:PORT of the collector that gets traces over gRPC; default none."""
    addresses: Mapping[str, str]
    """PARADROP_AUTH_ADDRESS and so on: where each service listens, as gRPC writes it."""
    bridge_address: str
    """PARADROP_BRIDGE_ADDRESS: where the WebSocket bridge listens, in the same form."""
    internal_tls: Path | None
    """PARADROP_INTERNAL_TLS: folder of this part's certificate, beside those of the others; None means that
    the parts meet at unix sockets or on this machine alone."""

    @property
    def public_dir(self) -> Path:
        """Folder of what auth publishes for the other services and Envoy."""
        return self.home / "public"

    @property
    def service_token_file(self) -> Path:
        """File of the token that the services use among themselves."""
        return self.home / "internal" / "service.jwt"

    @property
    def admin_password_file(self) -> Path:
        """File of the password that was generated at the first start."""
        return self.home / "admin-password"

    @property
    def web_dir(self) -> Path:
        """Folder of what the chute service tells Envoy about the pages of chutes."""
        return self.home / "web"

    @property
    def web_socket(self) -> Path:
        """Unix socket at which Envoy passes requests for pages of chutes on to itself."""
        return self.runtime / "web.sock"

    def state_dir(self, service: str) -> Path:
        """Returns the folder of one service's state, made if absent."""
        path = self.home / service
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def prepare(self) -> None:
        """Makes the folders that several services share, or raises `SettingError`."""
        for path in (
            self.home,
            self.public_dir,
            self.web_dir,
            self.service_token_file.parent,
            self.runtime,
        ):
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                name = "PARADROP_RUNTIME" if path == self.runtime else "PARADROP_HOME"
                raise SettingError(
                    f"The folder {path} cannot be made ({error.strerror}); set {name} to a folder that this "
                    "user may write to."
                ) from error


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings or raises `SettingError`."""
    home = Path(environment.get("PARADROP_HOME") or _default_home(environment)).expanduser().absolute()
    host, port = _listen(environment.get("PARADROP_LISTEN") or DEFAULT_LISTEN)
    runtime = _runtime(environment, home)
    tls_cert, tls_key = (_file(environment, f"PARADROP_TLS_{part}") for part in ("CERT", "KEY"))
    if (tls_cert is None) != (tls_key is None):
        raise SettingError("Set both PARADROP_TLS_CERT and PARADROP_TLS_KEY, or none of them.")
    internal_tls = Path(text).absolute() if (text := environment.get("PARADROP_INTERNAL_TLS")) else None
    addresses = {part: _address(environment, part, runtime) for part in (*SERVICES, "bridge")}
    return Settings(
        home=home,
        runtime=runtime,
        listen_host=host,
        listen_port=port,
        admin_password=_secret(environment, "PARADROP_ADMIN_PASSWORD"),
        tls_cert=tls_cert,
        tls_key=tls_key,
        cors_origins=_origins(environment.get("PARADROP_CORS_ORIGINS", "")),
        docker_host=environment.get("DOCKER_HOST") or None,
        max_upload_bytes=_mebibytes(environment, "PARADROP_MAX_UPLOAD_MIB", DEFAULT_MAX_UPLOAD_MIB),
        allow_privileged=_flag(environment, "PARADROP_ALLOW_PRIVILEGED"),
        allow_host_network=_flag(environment, "PARADROP_ALLOW_HOST_NETWORK"),
        base_images=_base_images(environment.get("PARADROP_BASE_IMAGES", "")),
        download_hosts=_hosts(environment.get("PARADROP_DOWNLOAD_HOSTS", "")),
        download_ca=_file(environment, "PARADROP_DOWNLOAD_CA"),
        discovery=_flag(environment, "PARADROP_DISCOVERY", default="1"),
        power=_flag(environment, "PARADROP_POWER", default="1"),
        controller_ca=_file(environment, "PARADROP_CONTROLLER_CA"),
        controller_cert=_file(environment, "PARADROP_CONTROLLER_CERT"),
        controller_key=_file(environment, "PARADROP_CONTROLLER_KEY"),
        host_network=_choice(environment, "PARADROP_HOST_NETWORK", ("kept", "managed")),
        allow_monitor_mode=_flag(environment, "PARADROP_ALLOW_MONITOR_MODE"),
        standin_radio=_flag(environment, "PARADROP_STANDIN_RADIO"),
        spectrum_scenario=_file(environment, "PARADROP_SPECTRUM_SCENARIO"),
        spectrum_recording=_file(environment, "PARADROP_SPECTRUM_RECORDING"),
        concurrent_builds=_count(
            environment, "PARADROP_CONCURRENT_BUILDS", DEFAULT_CONCURRENT_BUILDS, MAX_CONCURRENT_BUILDS
        ),
        grace_s=_seconds(environment, "PARADROP_GRACE_S", DEFAULT_GRACE_S, MAX_GRACE_S),
        otlp_endpoint=_endpoint(environment),
        bridge_address=addresses.pop("bridge"),
        addresses=addresses,
        internal_tls=internal_tls,
    )


class _Asked(dict[str, str]):
    """An empty environment that remembers what was looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Notes a name."""
        self.names.add(name)
        return default


def setting_names() -> list[str]:
    """Returns the names of all settings that begin with `PREFIX`."""
    asked = _Asked()
    load_settings(asked)
    return sorted(name for name in asked.names if name.startswith(PREFIX))


def _default_home(environment: Mapping[str, str]) -> str:
    state = environment.get("XDG_STATE_HOME") or str(
        Path(environment.get("HOME") or "~") / ".local" / "state"
    )
    return str(Path(state) / "paradrop")


def _runtime(environment: Mapping[str, str], home: Path) -> Path:
    given = environment.get("PARADROP_RUNTIME")
    runtime = Path(given).absolute() if given else home / "run"
    if len(str(runtime)) + len("/airshark.sock") <= MAX_UNIX_PATH_BYTES:
        return runtime
    if given:
        raise SettingError(f"PARADROP_RUNTIME is too long for unix sockets: {runtime}")
    short = sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"paradrop-{os.getuid()}-{short}"


def _listen(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([\w.-]*)):(\d{1,5})", text)
    if not match or not 0 < int(match[3]) <= 65535:
        raise SettingError(
            f"PARADROP_LISTEN must be an address and a port such as {DEFAULT_LISTEN}, not {text!r}."
        )
    return match[1] or match[2] or "0.0.0.0", int(match[3])  # noqa: S104


def _address(environment: Mapping[str, str], part: str, runtime: Path) -> str:
    name = f"PARADROP_{part.upper()}_ADDRESS"
    address = environment.get(name) or f"unix:{runtime / part}.sock"
    if address.startswith("unix:"):
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingError(f"{name} must be unix:PATH or an address and a port, not {address!r}.")
    return address


def _file(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    if not text:
        return None
    path = Path(text).absolute()
    if not os.access(path, os.R_OK):
        raise SettingError(f"{name} names a file that cannot be read: {path}")
    return path


def _secret(environment: Mapping[str, str], name: str) -> str | None:
    """Returns a secret, or what the file holds that the setting with `_FILE` names; None without one."""
    text, file = environment.get(name) or None, _file(environment, f"{name}_FILE")
    if file is None:
        return text
    if text is not None:
        raise SettingError(f"Set {name} or {name}_FILE, not both.")
    return file.read_text(errors="replace").rstrip("\r\n") or None


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().rstrip("/") for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not re.fullmatch(r"https?://[\w.\[\]:-]+", origin):
            raise SettingError(
                f"PARADROP_CORS_ORIGINS must hold origins such as https://example.org, not {origin!r}."
            )
    return origins


def _flag(environment: Mapping[str, str], name: str, default: str = "0") -> bool:
    text = (environment.get(name) or default).lower()
    if text not in ("0", "1", "false", "true"):
        raise SettingError(f"{name} must be 1 or 0, not {text!r}.")
    return text in ("1", "true")


def _base_images(text: str) -> Mapping[str, str]:
    pairs = [pair.strip().partition("=") for pair in text.split(",") if pair.strip()]
    for name, _, image in pairs:
        if not re.fullmatch(r"[a-z0-9]+", name) or not re.fullmatch(r"[a-z0-9][A-Za-z0-9._:/@-]*", image):
            raise SettingError(
                "PARADROP_BASE_IMAGES must hold pairs such as python3=python:3.12, "
                f"not {name!r} and {image!r}."
            )
    return {name: image for name, _, image in pairs}


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in text.split(",") if host.strip())
    for host in hosts:
        if not re.fullmatch(r"[a-z0-9.:-]+", host):
            raise SettingError(f"PARADROP_DOWNLOAD_HOSTS must hold names of hosts, not {host!r}.")
    return hosts


def _endpoint(environment: Mapping[str, str]) -> str | None:
    name = "PARADROP_OTLP_ENDPOINT"
    text = environment.get(name)
    if not text:
        return None
    match = re.fullmatch(r"http://(?:\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})/?", text)
    if not match or not 1 <= int(match[1]) <= 65535:
        raise SettingError(f"{name} must be an address such as http://127.0.0.1:4317, not {text!r}.")
    return text.rstrip("/")


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = environment.get(name) or choices[0]
    if text not in choices:
        raise SettingError(f"{name} must be {' or '.join(choices)}, not {text!r}.")
    return text


def _mebibytes(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(f"{name} must be a whole number of mebibytes from 1 on, not {text!r}.")
    return int(text) * 1024 * 1024


def _count(environment: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise SettingError(f"{name} must be a whole number from 1 to {largest}, not {text!r}.")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float, largest: float) -> float:
    text = environment.get(name) or str(default)
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text) or float(text) > largest:
        raise SettingError(f"{name} must be seconds from 0 to {largest:.0f} such as 1.5, not {text!r}.")
    return float(text)

"""Writes Envoy's configuration from the settings and the descriptors."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway import descriptors
from gateway.routes import UPLOAD_TYPE, paths, public_rpcs
from services.common.addresses import Address
from services.common.files import write_atomically
from services.common.options import load_options
from services.common.settings import MAX_UNIX_PATH_BYTES, WEB_DOMAIN, SettingError, Settings
from services.common.tls import AUTHORITY_FILE, PART_FILE, is_network_address

IDLE_TIMEOUT_S = 60
"""For so long Envoy keeps a connection to the bridge that nobody uses."""
MAX_JSON_BYTES = 1024 * 1024
MAX_PUBLIC_JSON_BYTES = 16 * 1024
"""For those who have shown no token yet."""
MAX_REPLY_BYTES = 16 * 1024 * 1024
MAX_CONNECTIONS = 1024
MAX_HEAP_BYTES = 128 * 1024 * 1024
"""Envoy's own memory, at which it refuses new requests; about ten times what it needs when idle."""

WEBSOCKET_PATHS = ("/(ws|sockjs)/.*", "/api/v1/chutes/[^/]+/networks/[^/]+/hostapd_control/ws")
DOWNLOAD_PATHS = ("/api/v1/airshark/recordings/[^/]+/data",)
"""Files that are served in ranges, which the transcoder does not know."""
EVENT_STREAM_PATHS = ("/api/v1/airshark/(raw|spectrum|sweep|waterfall|detections/watch)",)
"""Streams that are also server-sent events, which the transcoder can give no names and numbers."""
PAGE_PATHS = ("/", "/spectrum", "/reference(/.*)?", "/openapi\\.json", "/static/.*", "/metrics")

TRACES = "traces"
"""Name of the cluster of the collector, if there is one."""

OWN_TEXT = "%LOCAL_REPLY_BODY%"
ERRORS = (
    # HTTP status, gRPC code, reason, message: what Envoy refuses before a service sees it.
    (400, 3, "REQUEST_INVALID", OWN_TEXT),
    (401, 16, "CREDENTIALS_MISSING", "This call needs a token; log in with POST /api/v1/auth/local."),
    (403, 7, "UPGRADE_REFUSED", "This path does not take part in protocol upgrades."),
    (404, 5, "PATH_NOT_FOUND", OWN_TEXT),
    (405, 12, "METHOD_NOT_ALLOWED", OWN_TEXT),
    (408, 4, "REQUEST_TIMEOUT", "The request came too slowly; send it again."),
    (413, 8, "BODY_TOO_LARGE", "A JSON body may have 1 MiB; send files as application/x-tar."),
    (415, 3, "CONTENT_TYPE_NOT_SUPPORTED", OWN_TEXT),
    (426, 9, "UPGRADE_REQUIRED", OWN_TEXT),
    (429, 8, "TOO_MANY_REQUESTS", "Too many requests; wait before the next one."),
    (431, 8, "HEADERS_TOO_LARGE", "The headers of the request are too large."),
    (500, 13, "GATEWAY_ERROR", OWN_TEXT),
    (501, 12, "NOT_IMPLEMENTED_YET", OWN_TEXT),
    (502, 14, "SERVICE_UNAVAILABLE", "The service %UPSTREAM_CLUSTER% broke off; try again in a moment."),
    (
        503,
        14,
        "SERVICE_UNAVAILABLE",
        "The service %UPSTREAM_CLUSTER% does not answer now; try again in a moment.",
    ),
    (
        504,
        4,
        "SERVICE_TIMEOUT",
        "The service %UPSTREAM_CLUSTER% did not answer in time; try again in a moment.",
    ),
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Envoy passes requests on to."""

    name: str
    address: Address
    grpc: bool = True
    tls: bool = False
    """Whether it and Envoy show each other certificates; that of the cluster says its name."""


def admin_socket(settings: Settings) -> Path:
    """Returns the socket of Envoy's admin interface."""
    return settings.runtime / "envoy.sock"


def write_config(settings: Settings, out_dir: Path) -> Path:
    """Writes all files that Envoy reads into a folder and returns the one to start it with."""
    out_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = descriptors.load()
    described, script, config = (out_dir / name for name in ("descriptors.binpb", "filter.lua", "envoy.yaml"))
    write_atomically(described, descriptors.for_envoy(files).SerializeToString())
    write_atomically(script, _script(settings.cors_origins))
    if settings.internal_tls is not None:
        _write_secrets(settings.internal_tls, out_dir)
    services = descriptors.services(files)
    bindings = descriptors.http_bindings(files)
    uploads = sorted({b.rpc.rpartition(".")[0] for b in bindings if b.client_streaming})
    content = (
        _environment()
        .get_template("envoy.yaml.j2")
        .render(
            admin_socket=str(admin_socket(settings)),
            basic=str(Path(__file__).with_name("basic.lua")),
            clusters=_clusters(settings),
            descriptors=str(described),
            errors=ERRORS,
            download_paths=DOWNLOAD_PATHS,
            event_stream_paths=EVENT_STREAM_PATHS,
            jwks=str(settings.public_dir / "jwks.json"),
            listen=Address(host=settings.listen_host, port=settings.listen_port),
            lua=str(script),
            max_connections=MAX_CONNECTIONS,
            max_heap_bytes=MAX_HEAP_BYTES,
            max_json_bytes=MAX_JSON_BYTES,
            max_public_json_bytes=MAX_PUBLIC_JSON_BYTES,
            max_reply_bytes=MAX_REPLY_BYTES,
            origins=settings.cors_origins,
            packages=sorted({(name.rpartition(".")[0], service) for name, service in services.items()}),
            page_paths=PAGE_PATHS,
            paths=paths(bindings),
            only_uploads=[
                route.regex
                for path in paths(bindings)
                for route in path.routes
                if route.kind == "upload" and not route.told_by_type
            ],
            public_rpcs=public_rpcs(services),
            shared_lua=str(Path(__file__).with_name("shared.lua")),
            services=sorted(set(services) - set(uploads)),
            idle_timeout_s=IDLE_TIMEOUT_S,
            secrets={name: str(out_dir / f"{name}.json") for name in ("part", "authority")},
            traces=TRACES if settings.otlp_endpoint else None,
            tls={"cert": str(settings.tls_cert), "key": str(settings.tls_key)} if settings.tls_cert else None,
            upload_services=uploads,
            upload_type_regex=rf"(?i){UPLOAD_TYPE}\s*(;.*)?",
            chute_page=chute_page,
            web_dir=str(settings.web_dir),
            web_host_regex=rf"(?i)[a-z0-9-]+\.{re.escape(WEB_DOMAIN)}(:[0-9]+)?",
            web_lua=str(Path(__file__).with_name("web.lua")),
            web_socket=str(settings.web_socket),
            websocket_paths=WEBSOCKET_PATHS,
        )
    )
    _first_web_files(settings.web_dir)
    write_atomically(config, content.encode())
    return config


def chute_page(title: str, text: str) -> str:
    """Returns the page that stands where a chute's should be, in the form that Envoy fills in."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>' + title + "</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:4em auto;max-width:32em;padding:0 1em}</style>"
        "</head><body><h1>" + title + "</h1><p>" + text + "</p></body></html>\n"
    )


def _first_web_files(folder: Path) -> None:
    """Writes what Envoy reads until the chute service, which may start later, has written its own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    message = "The chute service has not said yet where the pages of chutes are."
    answer = {"status": 503, "body": {"inline_string": message}}
    auth_type = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    unknown = {
        "name": "paths",
        "domains": ["*"],
        "typed_per_filter_config": {"envoy.filters.http.ext_authz": {"@type": auth_type, "disabled": True}},
        "routes": [{"match": {"prefix": "/"}, "direct_response": answer}],
    }
    route_type = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    for name, resources in (
        ("clusters.json", []),
        ("routes.json", [{"@type": route_type, "name": "chutes", "virtual_hosts": [unknown]}]),
    ):
        with suppress(FileExistsError), (folder / name).open("x") as file:
            json.dump({"version_info": "0", "resources": resources}, file)


def _script(origins: tuple[str, ...]) -> bytes:
    # Settings let only letters of URLs into an origin: as JSON it is a Lua string too.
    table = ", ".join(f"[{json.dumps(origin)}] = true" for origin in origins)
    scripts = [Path(__file__).with_name(name).read_text() for name in ("errors.lua", "filter.lua")]
    return "\n".join([f"local ORIGINS = {{{table}}}", *scripts]).encode()


def _environment() -> Environment:
    # The output is YAML, and every value goes through tojson.
    return Environment(
        loader=PackageLoader("gateway", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701
    )


def _write_secrets(folder: Path, out_dir: Path) -> None:
    """Writes what names the files of Envoy's own certificate and of the authority, for it to watch."""
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    part, authority = ({"filename": str(folder / name)} for name in (PART_FILE, AUTHORITY_FILE))
    watched = {"watched_directory": {"path": str(folder)}}
    for name, content in (
        ("part", {"tls_certificate": {"certificate_chain": part, "private_key": part, **watched}}),
        ("authority", {"validation_context": {"trusted_ca": authority, **watched}}),
    ):
        document = {"resources": [{"@type": kind, "name": name, **content}]}
        write_atomically(out_dir / f"{name}.json", json.dumps(document).encode())


def _clusters(settings: Settings) -> list[Cluster]:
    tls = settings.internal_tls is not None
    services = [
        Cluster(name, Address.parse(address), tls=tls and is_network_address(address))
        for name, address in settings.addresses.items()
    ]
    bridge = settings.bridge_address
    snapd = load_options(settings).text("snapd_interface")
    if len(snapd.encode()) > MAX_UNIX_PATH_BYTES or not snapd.startswith("/"):
        raise SettingError(f"snapd_interface must be the path of a unix socket, not {snapd!r}.")
    collector = settings.otlp_endpoint
    return [
        *services,
        *([Cluster(TRACES, Address.parse(collector.removeprefix("http://")))] if collector else []),
        Cluster("bridge", Address.parse(bridge), grpc=False, tls=tls and is_network_address(bridge)),
        Cluster("web", Address(path=str(settings.web_socket)), grpc=False),
        Cluster("snapd", Address(path=snapd), grpc=False),
    ]

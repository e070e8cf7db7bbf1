"""Light services: a language and a command; the node writes the Dockerfile."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from services.chutes.domain.spec import ServiceSpec

USER = "paradrop"
USER_ID = 999
"""Owner of the chutes' data folders."""
APP_DIR = "/opt/paradrop/app"


@dataclass(frozen=True, slots=True)
class Language:
    """How a chute of one language is built."""

    base: str
    """Image that it starts from."""
    manifests: tuple[str, ...] = ()
    """Files that name what the chute needs."""
    install: str = ""
    """Shell command that fetches what they name; the files may be absent."""
    build: str = ""
    """Shell command that builds the chute when all files are there."""


_PIP = "if [ -f requirements.txt ]; then pip install --no-cache-dir -r requirements.txt; fi"
_NPM = "if [ -f package.json ]; then npm install --production; fi"
_MAVEN = "if [ -f pom.xml ]; then mvn --batch-mode dependency:go-offline; fi"
_GO = (
    "export GOBIN=/usr/local/bin; "
    "if [ ! -f go.mod ]; then go get -d -v ./...; fi; go install -v ./..."
)  # fmt: skip

LIGHT_IMAGES: Mapping[str, Language] = {
    "go": Language("golang:1.11", build=_GO),
    "gradle": Language("gradle:4.2", build="gradle build"),
    "maven": Language("maven:3.5", ("pom.xml",), _MAVEN, "mvn --batch-mode package"),
    "node": Language("node:8.13", ("package.json",), _NPM),
    "nodejs": Language("node:22", ("package.json", "package-lock.json"), _NPM),
    "python": Language("python:3.13", ("requirements.txt",), _PIP),
    "python2": Language("python:2.7", ("requirements.txt",), _PIP),
    "python3": Language("python:3.7", ("requirements.txt",), _PIP),
}
"""What a light service may name as its image. "node" and "python3" are as old as chutes expect of them;
"nodejs" and "python" are current."""


def base_image(service: ServiceSpec, overrides: Mapping[str, str]) -> str:
    """Returns the image that a light service is built on; the node's settings come first."""
    name = service.image or ""
    if name in overrides:
        return overrides[name]
    repository, _, tag = LIGHT_IMAGES[name].base.partition(":")
    build = service.build
    return f"{build.get('image_source') or repository}:{build.get('image_version') or tag}"


def light_dockerfile(service: ServiceSpec, overrides: Mapping[str, str]) -> str:
    """Returns the Dockerfile of a light service."""
    language = LIGHT_IMAGES[service.image or ""]
    # A pattern that fits nothing is no error as long as another of the same line fits something.
    manifests = " ".join(f"{name[:-1]}[{name[-1]}]" for name in ("paradrop.yaml", *language.manifests))
    packages = " ".join(str(package) for package in service.build.get("packages") or ())
    lines = [
        f"FROM {base_image(service, overrides)}",
        "USER root",
        # By hand: base images differ in the programs that add users.
        f"RUN id {USER} >/dev/null 2>&1"
        f" || {{ echo {USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/sh >>/etc/passwd"
        f" && echo {USER}:x:{USER_ID}: >>/etc/group"
        f" && mkdir -p /home/{USER} && chown {USER_ID}:{USER_ID} /home/{USER}; }}",
        f"WORKDIR {APP_DIR}",
    ]
    if packages:
        lines.append(
            "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "
            f"{packages} && rm -rf /var/lib/apt/lists/*"
        )
    # Nothing in the image may make somebody else of the chute's user.
    lines.append("RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +")
    if language.install:
        # First without the rest: what is fetched is fetched again only when these files change.
        lines += [f"COPY Dockerfile {manifests} ./", f"RUN {language.install}"]
    lines.append("COPY . .")
    if language.build:
        lines.append(f"RUN {language.build}")
    lines += [f"RUN chown -R {USER_ID} {APP_DIR}", f"USER {'root' if service.as_root else USER}"]
    lines.append(f"CMD {json.dumps(light_command(service))}")
    return "\n".join(lines) + "\n"


def light_command(service: ServiceSpec) -> list[str]:
    """Returns what a light service runs: a list as it is, a text by a shell."""
    command = service.command
    return ["/bin/sh", "-c", command] if isinstance(command, str) else list(command or ())

"""The documented settings of Paradrop 0.13: built in, from `settings.ini`, and from the environment.

They are what `GET /api/v1/config/settings` shows. What decides where this node keeps its things is not theirs
to say: those are shown as they are, and a file that sets one is told so.
"""

import difflib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from services.common.settings import PREFIX, Settings, setting_names

Value = bool | int | str | None
Kind = Literal["boolean", "whole number", "text", "text or None"]

FILE_NAME = "settings.ini"
SECTION = "base"
MAX_FILE_BYTES = 64 * 1024
SECRET = frozenset({"registry_password", "default_panel_password", "default_wireless_key"})
"""Settings whose values are never shown."""

_WORDS: Mapping[str, Value] = MappingProxyType(
    {"True": True, "true": True, "False": False, "false": False, "None": None, "none": None}
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting that has no effect, and why."""

    where: str
    """File and line, or the name of an environment variable."""
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Options:
    """All documented settings, by name in lower case."""

    values: Mapping[str, Value]
    problems: Sequence[Problem] = ()

    def shown(self) -> dict[str, Value]:
        """Returns the settings as anybody may see them: secrets are None."""
        return {name: None if name in SECRET else value for name, value in self.values.items()}

    def text(self, name: str) -> str:
        """Returns a setting that is a text; "" for None."""
        value = self.values[name]
        return value if isinstance(value, str) else ""


def load_options(settings: Settings, environment: Mapping[str, str] = os.environ) -> Options:
    """Reads the settings. Blocking; what is wrong becomes a problem, and the default stays."""
    fixed, defaults = _fixed(settings), _defaults()
    kinds = {name: _kind(value) for name, value in defaults.items()}
    values: dict[str, Value] = dict(defaults)
    problems = list(_misspelt(environment))
    for where, name, text in [*_from_files(settings, environment, problems), *_from_environment(environment)]:
        if name in fixed:
            problems.append(Problem(where, f"{name} has no effect: {fixed[name]!r} follows from PARADROP_*."))
        elif name not in defaults:
            problems.append(Problem(where, f"there is no setting {name!r}."))
        else:
            try:
                values[name] = _read(kinds[name], text)
            except ValueError:
                shown = "" if name in SECRET else f", not {text!r}"
                problems.append(Problem(where, f"{name} must be a {kinds[name]}{shown}."))
    return Options(MappingProxyType(dict(sorted((values | fixed).items()))), tuple(problems))


def _misspelt(environment: Mapping[str, str]) -> Iterator[Problem]:
    # Only what is like a setting: chutes, containers and clients have variables of this beginning too.
    known = [name.removeprefix(PREFIX) for name in setting_names()]
    for name in sorted(environment):
        given = name.removeprefix(PREFIX)
        if given != name and given not in known:
            for likely in difflib.get_close_matches(given, known, 1, 0.8):
                yield Problem(name, f"there is no such setting; {PREFIX}{likely} may be meant.")


def _from_files(
    settings: Settings, environment: Mapping[str, str], problems: list[Problem]
) -> Iterator[tuple[str, str, str]]:
    folders = [Path(), Path("/etc"), settings.home]
    if snap := environment.get("SNAP_COMMON"):
        folders.append(Path(snap))
    for folder in folders:
        path = folder / FILE_NAME
        try:
            text = path.read_bytes()[:MAX_FILE_BYTES].decode()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(str(path), f"cannot be read ({type(error).__name__})."))
            continue
        yield from read_ini(str(path), text, problems)


def read_ini(path: str, text: str, problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    """Yields place, name and text of each setting of a file; what cannot be read is added to `problems`."""
    section = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped, where = line.strip(), f"{path}:{number}"
        if not stripped or stripped[0] in "#;":
            continue
        if match := re.fullmatch(r"\[([^\]]*)\]", stripped):
            section = match[1]
        elif match := re.fullmatch(r"([^=:\s]+)\s*[=:]\s*(.*)", stripped):
            if section == SECTION:
                yield where, match[1].lower(), match[2]
            else:
                problems.append(Problem(where, f"stands outside of the section [{SECTION}]."))
        else:
            problems.append(Problem(where, "must be 'name = value'."))


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    # Only known names: an environment is full of other programs' variables, which are no mistakes.
    for name in _defaults():
        if (text := environment.get(name.upper())) is not None:
            yield name.upper(), name, text


def _kind(default: Value) -> Kind:
    if default is None:
        return "text or None"
    if isinstance(default, bool):
        return "boolean"
    return "whole number" if isinstance(default, int) else "text"


def _read(kind: Kind, text: str) -> Value:
    """Returns the value of a text; raises ValueError if it is of another kind."""
    if kind == "text":
        return text
    if kind == "whole number":
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise ValueError(text)
        return int(text)
    if kind == "text or None":
        return None if text in ("None", "none") else text
    value = _WORDS.get(text)
    if not isinstance(value, bool):
        raise ValueError(text)
    return value


def _defaults() -> dict[str, Value]:
    return {
        "airshark_install_dir": "/snap/airshark/current",
        "allow_monitor_mode": False,
        "check_docker": False,
        "chute_config_file": "paradrop.yaml",
        "concurrent_builds": True,
        "container_uid": 999,
        "debug_mode": False,
        "default_lan_address": "10.0.0.1",
        "default_lan_network": "10.0.0.0/24",
        "default_panel_password": "",
        "default_panel_username": "paradrop",
        "default_wireless_enabled": True,
        "default_wireless_essid": "Paradrop",
        "default_wireless_key": None,
        "docker_bin_dir": "/usr/bin",
        "dynamic_network_pool": "10.128.0.0/9",
        "fc_bounce_update": None,
        "fc_chutestorage_save_timer": 0,
        "governor_interface": "/var/run/governor.socket",
        "host_data_partition": "/",
        "local_domain": "paradrop.io",
        "pdconfd_enabled": True,
        "pdserver": "https://paradrop.org",
        "pdserver_max_concurrent_requests": 2,
        "registry_password": "",
        "registry_username": "",
        "reject_downgrade": False,
        "snapd_interface": "/run/snapd.socket",
        "wamp_router": "wss://paradrop.org/ws",
        "zerotier_lib_dir": "/var/lib/zerotier-one",
    }


def _fixed(settings: Settings) -> dict[str, Value]:
    home, runtime = f"{settings.home}/", f"{settings.runtime}/"
    return {
        "portal_server_port": settings.listen_port,
        "config_home_dir": home,
        "runtime_home_dir": runtime,
        "tmp_dir": tempfile.gettempdir(),
        "log_dir": f"{home}logs/",
        "key_dir": f"{home}keys/",
        "misc_dir": f"{home}misc/",
        "config_file": f"{home}config",
        "pdconfd_write_dir": f"{runtime}pdconfd/",
        "fc_chutestorage_file": f"{home}chutes",
        "uci_config_dir": f"{home}uci/config.d/",
        "uci_backup_dir": f"{home}uci/config-backup.d/",
        "host_config_file": f"{home}hostconfig.yaml",
        "default_host_config_file": f"{home}hostconfig.default.yaml",
        "internal_data_dir": "/data/",
        "external_data_dir": f"{home}chutes/data/{{chute}}/",
        "internal_system_dir": "/paradrop/",
        "external_system_dir": f"{home}chutes/system/{{chute}}/",
    }

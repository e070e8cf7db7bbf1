"""What is on the air and how the radio looks, read from YAML and checked."""

from dataclasses import dataclass, field, fields
from typing import Any

import yaml

from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.radio import FrontEnd, Plan

MAX_SECONDS = 3600.0


class BadScenario(ValueError):
    """The scenario cannot be simulated; the message names the field and what it may be."""


@dataclass(frozen=True)
class DeviceSpec:
    """One device."""

    device: str
    level_dbm: float
    """Received power while it transmits."""


@dataclass(frozen=True)
class WifiSpec:
    """One Wi-Fi network."""

    centre_mhz: float
    load: float
    """Share of the time that its frames fill."""
    level_dbm: float = -60.0
    width_mhz: float = 20.0
    decoded: float = 0.9
    """Share of its frames on the radio's channel that the radio receives, and takes no samples in."""


@dataclass(frozen=True)
class JammerSpec:
    """Broadband noise."""

    centre_mhz: float
    width_mhz: float
    level_dbm: float


@dataclass(frozen=True)
class Scenario:
    """All of it."""

    seconds: float = 5.0
    seed: int = 1
    devices: tuple[DeviceSpec, ...] = ()
    wifi: tuple[WifiSpec, ...] = ()
    jammers: tuple[JammerSpec, ...] = ()
    plan: Plan = field(default_factory=lambda: Plan((2412, 2432, 2452, 2472), 0.1))
    front: FrontEnd = field(default_factory=FrontEnd)


def parse_scenario(text: str) -> Scenario:
    """Returns the scenario in a YAML text; raises `BadScenario`."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadScenario(f"The scenario is no YAML: {error}.") from None
    top = _mapping(document, "the scenario")
    parts: dict[str, Any] = {}
    lists: dict[str, type[Any]] = {"devices": DeviceSpec, "wifi": WifiSpec, "jammers": JammerSpec}
    for name, kind in lists.items():
        rows = top.pop(name, None) or []
        if not isinstance(rows, list):
            raise BadScenario(f"{name} must be a list.")
        parts[name] = tuple(_build(kind, row, f"{name}[{number}]") for number, row in enumerate(rows))
    singles: dict[str, type[Any]] = {"plan": Plan, "front": FrontEnd}
    for name, kind in singles.items():
        if name in top:
            parts[name] = _build(kind, top.pop(name), name)
    return _checked(_build(Scenario, {**top, **parts}, "the scenario"))


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadScenario(f"{where} must be a mapping.")
    return dict(value)


def _build(kind: type[Any], value: object, where: str) -> Any:
    row = _mapping(value, where)
    known = {entry.name for entry in fields(kind)}
    if unknown := set(map(str, row)) - known:
        raise BadScenario(f"{where} has no field {min(unknown)}; it may have {', '.join(sorted(known))}.")
    for name, entry in row.items():
        if isinstance(entry, list):
            row[name] = tuple(entry)
        elif name in ("device",):
            continue
        elif isinstance(entry, str):
            raise BadScenario(f"{where}.{name} must be a number.")
    try:
        return kind(**row)
    except TypeError:
        raise BadScenario(f"{where} misses a field; it has {', '.join(sorted(known))}.") from None


def _checked(scenario: Scenario) -> Scenario:
    if not 0 < scenario.seconds <= MAX_SECONDS:
        raise BadScenario(f"seconds must be above 0 and at most {MAX_SECONDS:.0f}.")
    for spec in scenario.devices:
        if spec.device not in MAKERS:
            raise BadScenario(f"There is no device {spec.device}; there are {', '.join(sorted(MAKERS))}.")
    channels = scenario.plan.channels_mhz
    if not isinstance(channels, tuple) or not channels:
        raise BadScenario("plan.channels_mhz must be a list of frequencies in MHz.")
    if not all(isinstance(each, int) and 2300 <= each <= 6000 for each in channels):
        raise BadScenario("plan.channels_mhz must be whole numbers from 2300 to 6000.")
    if not 0 <= scenario.plan.period <= 255 or not 0.001 <= scenario.plan.dwell_s <= 60:
        raise BadScenario("plan.period must be 0 to 255, and plan.dwell_s 0.001 to 60.")
    if any(not 0 < each.load <= 0.95 for each in scenario.wifi):
        raise BadScenario("wifi.load must be above 0 and at most 0.95.")
    if not 0.05 <= scenario.front.spacing_mhz <= 2 or not -127 <= scenario.front.noise_field_dbm <= 127:
        raise BadScenario("front.spacing_mhz must be 0.05 to 2, and front.noise_field_dbm -127 to 127.")
    return scenario

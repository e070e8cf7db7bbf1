"""Random air: what is on it, how a radio looks at it, and what a detector may be expected to find."""

from dataclasses import dataclass

import numpy as np

from services.airshark.analysis.spacing import SPACINGS_MHZ
from services.airshark.simulator.devices import MAKERS
from services.airshark.simulator.radio import FrontEnd, Plan
from services.airshark.simulator.scenario import DeviceSpec, JammerSpec, Scenario, WifiSpec

WITHIN_VIEW_MHZ = 8.5
FOUR_BANDS = (2412, 2432, 2452, 2472)
USUAL_PLAN = Plan((2412, 2427, 2442, 2457, 2472), 0.1)
"""What the documentation recommends: views that leave no gap, whatever the spacing of the bins."""
KINDS = {
    "bluetooth": 2.0,
    "ble": 1.6,
    "zigbee": 2.6,
    "fhss_phone": 1.5,
    "xbox": 2.0,
    "microwave": 1.5,
    "inverter_microwave": 0.7,
    "analog_phone": 1.4,
    "analog_audio": 1.4,
    "analog_video": 1.0,
    "cw": 0.6,
}
"""What training scenes hold, and how often."""
STAYS = ("zigbee", "analog_phone", "analog_audio", "analog_video", "cw")
WIFI_MHZ = (2412.0, 2417.0, 2427.0, 2437.0, 2442.0, 2452.0, 2462.0)


@dataclass(frozen=True)
class Truth:
    """One device of a scene."""

    device: str
    level_dbm: float
    samples: int
    """How many samples look at it while it transmits."""
    frequencies_mhz: tuple[float, ...]
    """Of its transmitters, where they do not hop."""
    duty_cycle: float = 0.0
    """Share of the time in which it transmits, anywhere."""
    gains_db: tuple[float, ...] = (0.0,)
    """By how much each of its stations is stronger than its level."""


def random_scenario(seed: int) -> Scenario:
    """Returns a training scene: up to five devices, Wi-Fi in a third of them, any plan, any front end."""
    rng = np.random.default_rng(seed + 10**6)
    count = int(rng.choice([0, 1, 2, 3, 4, 4, 4, 5]))
    weights = np.array(list(KINDS.values()))
    names = rng.choice(list(KINDS), count, replace=False, p=weights / weights.sum())
    devices = tuple(DeviceSpec(str(name), float(rng.uniform(-90, -30))) for name in names)
    wifi: tuple[WifiSpec, ...] = ()
    if rng.uniform() < 0.35:
        wifi = tuple(_random_wifi(rng) for _ in range(int(rng.choice([1, 1, 2, 3]))))
    jammers: tuple[JammerSpec, ...] = ()
    if rng.uniform() < 0.02:
        jammers = (JammerSpec(rng.uniform(2410, 2475), rng.uniform(20, 80), rng.uniform(-85, -40)),)
    seconds = float(rng.choice([0.6, 1, 1.4, 1.6]))
    return Scenario(seconds, seed, devices, wifi, jammers, _random_plan(rng), random_front(rng))


def _random_wifi(rng: np.random.Generator) -> WifiSpec:
    return WifiSpec(
        float(rng.choice(WIFI_MHZ)),
        float(rng.choice([0.02, 0.05, 0.25, 0.5, 0.75, 0.9])),
        float(rng.uniform(-92, -40)),
        20.0 if rng.uniform() < 0.85 else 40.0,
        float(rng.choice([0, 0.5, 0.9, 1])),
    )


def _random_plan(rng: np.random.Generator) -> Plan:
    kind = rng.choice(8, p=[0.14, 0.08, 0.07, 0.12, 0.11, 0.04, 0.04, 0.4])
    if kind == 5:
        return Plan(tuple(range(2412, 2473, 5)), 0.06, 255, samples_per_visit=int(rng.integers(8, 10)))
    if kind == 6:
        return Plan((2412, 2437, 2462) if rng.uniform() < 0.5 else (2442,), 0.2, 255)
    if kind == 7:
        return USUAL_PLAN
    if kind == 0:
        return Plan(FOUR_BANDS, 0.1)
    if kind == 1:
        return Plan(tuple(range(2412, 2473, 10)), 0.1)
    if kind == 2:
        return Plan((2412, 2437, 2462), 0.1)
    if kind == 3:
        bands = FOUR_BANDS if rng.uniform() < 0.6 else USUAL_PLAN.channels_mhz
        return Plan(bands, float(rng.uniform(0.05, 0.3)), int(rng.choice([18, 18, 10, 36])))
    return Plan((int(rng.choice([2412, 2422, 2437, 2452, 2462])),), 0.1)


def random_front(rng: np.random.Generator) -> FrontEnd:
    """Returns a card with faults of its own."""
    return FrontEnd(
        spacing_mhz=SPACINGS_MHZ[0] if rng.uniform() < 0.7 else SPACINGS_MHZ[1],
        noise_field_dbm=int(rng.choice([-95, -95, -90, -86, -51])),
        rssi_error_db=float(rng.uniform(0.3, 2)),
        distortion_db=float(rng.uniform(-43, -33)),
        skirt_db=float(rng.uniform(6, 14)) if rng.uniform() < 0.55 else None,
        skirt_floor_db=float(rng.uniform(27, 42)),
        rssi_stuck_db=int(rng.uniform(0, 20)) if rng.uniform() < 0.04 else None,
        lost_share=float(rng.choice([0, 0, 0.02])),
        corrupt_share=float(rng.choice([0, 0, 0.001])),
        tsf_restarts=bool(rng.uniform() < 0.3),
    )


def truth_of(scenario: Scenario) -> list[Truth]:
    """Returns what is in a scene: the devices that `simulate` draws from the same seed."""
    rng = np.random.default_rng(scenario.seed)
    made = [(spec, MAKERS[spec.device](scenario.seconds, rng)) for spec in scenario.devices]
    time_s, channel = scenario.plan.times(scenario.seconds, np.random.default_rng(1))
    truths = []
    for spec, transmitters in made:
        samples, frequencies, gains = 0, [], []
        on = np.zeros(len(time_s), bool)
        for transmitter in transmitters:
            for seen in transmitter.seen(time_s, np.random.default_rng(2))[:1]:
                inside = np.abs(seen.frequency_mhz - channel[seen.rows]) < WITHIN_VIEW_MHZ
                samples += int(inside.sum())
                on[seen.rows] = True
                if len(seen.rows):
                    gains.append(float(np.median(seen.gain_db)))
                if spec.device in STAYS and len(seen.rows):
                    frequencies.append(float(np.median(seen.frequency_mhz)))
        truths.append(
            Truth(spec.device, spec.level_dbm, samples, tuple(frequencies), float(on.mean()), tuple(gains))
        )
    return truths


def offset_db(scenario: Scenario) -> float:
    """Returns by how much the levels of a card with a wrong noise floor are wrong."""
    return scenario.front.noise_field_dbm - scenario.front.floor_dbm

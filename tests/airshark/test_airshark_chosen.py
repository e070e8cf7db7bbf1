"""What is simulated until somebody chooses a source."""

import json
from pathlib import Path

import pytest

from services.airshark.adapters.chosen import ChosenSource
from services.airshark.domain.settings import SourceSettings
from services.airshark.domain.sources import SourceKind

KITCHEN = Path(__file__).parents[2] / "examples" / "airshark" / "kitchen.yaml"


def test_nothing_is_read_by_default(tmp_path: Path) -> None:
    assert ChosenSource(tmp_path / "source.json").load() == (SourceSettings(),)


def test_a_scenario_of_the_operator_is_simulated(tmp_path: Path) -> None:
    [loaded] = ChosenSource(tmp_path / "source.json", KITCHEN).load()
    assert (loaded.kind, loaded.scenario) == (SourceKind.SIMULATED, KITCHEN.read_text())


def test_a_recording_of_the_operator_is_played_as_well(tmp_path: Path) -> None:
    played = SourceSettings(SourceKind.RECORDING, recording="camera", loop=True)
    assert ChosenSource(tmp_path / "source.json", recording="camera").load() == (played,)
    simulated, second = ChosenSource(tmp_path / "source.json", KITCHEN, "camera").load()
    assert (simulated.kind, second) == (SourceKind.SIMULATED, played)


def test_what_was_chosen_goes_first_even_if_it_is_nothing(tmp_path: Path) -> None:
    ChosenSource(tmp_path / "source.json").save((SourceSettings(),))
    assert ChosenSource(tmp_path / "source.json", KITCHEN).load() == (SourceSettings(),)


@pytest.mark.parametrize("content", [None, b"", b"- 1", b"\xff\xfe", b"devices: [{kind: teapot}]"])
def test_what_is_no_scenario_is_ignored(tmp_path: Path, content: bytes | None) -> None:
    scenario = tmp_path / "scenario.yaml"
    if content is not None:
        scenario.write_bytes(content)
    assert ChosenSource(tmp_path / "source.json", scenario).load() == (SourceSettings(),)


def test_a_choice_of_one_source_from_before_there_could_be_several_is_read(tmp_path: Path) -> None:
    settings = SourceSettings(SourceKind.HARDWARE, phy="phy0", hop_mhz=(2412, 2437))
    (tmp_path / "source.json").write_text(json.dumps(settings.as_json()))
    assert ChosenSource(tmp_path / "source.json").load() == (settings,)


def test_a_list_is_no_choice(tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text("[1]")
    assert ChosenSource(tmp_path / "source.json").load() == (SourceSettings(),)

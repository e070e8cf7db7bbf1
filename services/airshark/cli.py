"""The commands `paradrop airshark ...`."""

import sys
from pathlib import Path

import click

NO_CAPTURE_STATUS = 2


@click.group()
def airshark() -> None:
    """Works with files of spectral samples."""


@airshark.command()
@click.argument("file", type=click.Path(path_type=Path))
def analyze(file: Path) -> None:
    """Names the devices in a recording, one JSON object on each line, and a summary on the last.

    Reads raw records of ath9k, ath10k and ath11k, chunks with a length before each, and Paradrop's own
    recordings. Exits with 0, also when nothing is found, and with 2 if the file holds no samples.

    \b
    Examples:
      paradrop airshark analyze capture.bin
      paradrop airshark analyze capture.bin | jq 'select(.type == "detection")'
    """
    from services.airshark.adapters.files import NoCapture
    from services.airshark.analyze import analyze as analyse

    try:
        for line in analyse(file):
            click.echo(line)
    except NoCapture as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror}.")


@airshark.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def simulate(scenario: Path, output: Path) -> None:
    """Writes what an ath9k radio would give in a scenario; see docs/spectrum.md for what a scenario holds.

    \b
    Examples:
      paradrop airshark simulate examples/airshark/kitchen.yaml kitchen.bin
    """
    from services.airshark.simulator.scenario import BadScenario, parse_scenario
    from services.airshark.simulator.simulate import simulate as simulated

    try:
        parsed = parse_scenario(scenario.read_text())
        with output.open("wb") as file:
            for data in simulated(parsed):
                file.write(data)
    except BadScenario as error:
        _refuse(str(error))
    except UnicodeDecodeError:
        _refuse(f"{scenario} is no text.")
    except OSError as error:
        _refuse(f"{error.filename} cannot be read or written: {error.strerror}.")


def _refuse(message: str) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(NO_CAPTURE_STATUS)

"""The commands `paradrop airshark ...`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
NO_CAPTURE_STATUS = 2


@click.group()
def airshark() -> None:
    """Records, shows and converts samples of the radio spectrum.

    Files may hold the kernel's bytes, chunks with a 32-bit length before each, or recordings of Paradrop.
    """


@airshark.command()
@click.argument("out", type=OUT)
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=0.0, help="End after so long; 0: until Ctrl-C."
)
@click.option(
    "--max-mb", type=click.FloatRange(min=0), default=100.0, show_default=True, help="End at this size."
)
def record(out: Path, seconds: float, max_mb: float) -> None:
    """Records what the node on this machine receives into the new file OUT."""
    from services.airshark.domain import container
    from services.airshark.tools.node import raw_batches
    from services.common.timestamps import to_seconds

    begun_s = time.monotonic()
    writer = container.Writer()
    with _refusals(), out.open("xb") as file:
        begun = False
        try:
            for batch, kind, lost in raw_batches():
                if batch is not None:
                    if not begun:
                        begun_at_s = to_seconds(batch.time)
                        header = container.Header(
                            batch.interface, kind, "recorded by the command line", begun_at_s, {}
                        )
                        file.write(writer.begin(header))
                        begun = True
                    file.write(writer.chunk(batch.data, to_seconds(batch.time), lost))
                if (seconds and time.monotonic() - begun_s >= seconds) or writer.size_bytes >= max_mb * 1e6:
                    break
        except KeyboardInterrupt:
            pass
        finally:
            if begun:
                file.write(writer.end())
            else:
                out.unlink()
    if not begun:
        raise click.ClickException("Nothing was received, so there is no file.")
    click.echo(f"{out}: {writer.size_bytes} bytes", err=True)


@airshark.command()
@click.argument("file", type=FILE)
@click.option("--loop", is_flag=True, help="Begin anew at the end.")
@click.option("--fast", is_flag=True, help="As fast as possible instead of at the pace of the recording.")
@click.option(
    "--to-node", is_flag=True, help="Make the node on this machine play it, instead of writing it out."
)
def replay(file: Path, loop: bool, fast: bool, to_node: bool) -> None:
    """Writes the kernel's bytes in FILE to standard output as a radio would give them."""
    from services.airshark.adapters.files import open_file
    from services.airshark.tools import node

    with _refusals():
        if to_node:
            name = node.play(file, loop=loop, fast=fast)
            click.echo(f"The node plays the recording {name}.")
            return
        while True:
            _, chunks = open_file(file)
            begun_s, first_s = time.monotonic(), None
            for chunk in chunks:
                first_s = chunk.wall_time_s if first_s is None else first_s
                if not fast:
                    time.sleep(max(begun_s + chunk.wall_time_s - first_s - time.monotonic(), 0))
                sys.stdout.buffer.write(chunk.data)
                sys.stdout.buffer.flush()
            if not loop:
                return


@airshark.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def info(file: Path, as_json: bool) -> None:
    """Tells what FILE holds."""
    from services.airshark.tools.info import describe

    with _refusals():
        found = describe(file)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        click.echo(f"{key.replace('_', ' '):16} {text}")


@airshark.command()
@click.argument("source", type=FILE)
@click.argument("out", type=OUT)
@click.option(
    "--to", type=click.Choice(["raw", "csv", "numpy", "recording"]), help="Default: by the name of OUT."
)
def convert(source: Path, out: Path, to: str | None) -> None:
    """Turns SOURCE into the new file OUT: .bin (kernel's bytes), .csv, .npz (NumPy) or .pdspec (recording).

    \b
    Examples:
      paradrop airshark convert dump.bin levels.csv
      paradrop airshark convert recording.pdspec - --to raw | fft_eval /dev/stdin
    """
    from services.airshark.tools.convert import FORMS, SUFFIXES

    form = to or SUFFIXES.get(out.suffix)
    if form is None:
        raise click.UsageError("Say with --to what OUT shall be, or name it .bin, .csv, .npz or .pdspec.")
    with _refusals():
        FORMS[form](source, out)


@airshark.command()
@click.argument("file", type=FILE)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--min-mhz", type=float, default=0.0, help="Lower end of the band; default all.")
@click.option("--max-mhz", type=float, default=0.0, help="Upper end of the band; default all.")
def plot(file: Path, out: Path, min_mhz: float, max_mhz: float) -> None:
    """Draws FILE as the image OUT.png: strongest and mean levels, and a waterfall."""
    from services.airshark.tools.plot import plot as draw

    with _refusals():
        draw(file, out, min_mhz, max_mhz)


@airshark.command()
@click.option("--file", type=FILE, help="Play a file instead of asking the node.")
@click.option("--min-mhz", type=float, default=2400.0, show_default=True, help="Lower end of the band.")
@click.option("--max-mhz", type=float, default=2500.0, show_default=True, help="Upper end of the band.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=0.0, help="End after so long; 0: until Ctrl-C."
)
def watch(file: Path | None, min_mhz: float, max_mhz: float, seconds: float) -> None:
    """Shows the band live in this terminal."""
    from rich.console import Console

    from services.airshark.tools import node
    from services.airshark.tools import watch as view

    if not 0 < min_mhz < max_mhz:
        raise click.UsageError("--min-mhz must be less than --max-mhz.")
    console = Console()
    title = file.name if file else "airshark"
    screen = view.Screen(console, min_mhz, max_mhz, title)
    with _refusals():
        try:
            if file is not None:
                rows = view.file_rows(file, screen.columns, min_mhz, max_mhz)
            else:
                rows = node.rows(screen.columns, min_mhz, max_mhz)
            view.show(screen, rows, console, seconds)
        except KeyboardInterrupt:
            pass


@contextmanager
def _refusals() -> Iterator[None]:
    """Tells in one line what is wrong."""
    import grpc

    from services.airshark.adapters.files import NoCapture
    from services.common.errors import DomainError
    from services.common.settings import SettingError

    try:
        yield
    except NoCapture as error:
        _fail(str(error), NO_CAPTURE_STATUS)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.filename or ''}: {error.strerror}", 1)
    except (DomainError, SettingError, ValueError) as error:
        _fail(str(error), 1)
    except grpc.RpcError as error:
        _fail(_explained(error), 1)


def _explained(error: Any) -> str:
    if error.code().name == "UNAVAILABLE":
        return (
            "No node answers on this machine; start it with `paradrop run`, or set PARADROP_HOME to that of "
            "the node."
        )
    return str(error.details())


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(status)


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

"""The command `paradrop`."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from services.common.settings import Settings

BEGAN_S = time.monotonic()

import click  # noqa: E402  # The clock starts before the imports do: the operator waits for them too.

from services.airshark.cli import airshark  # noqa: E402
from services.launcher.chute_commands import chute  # noqa: E402

PART_NAMES = ("auth", "network", "airshark", "chutes", "node", "bridge", "gateway")
LOG_LEVELS = ("debug", "info", "warning", "error")

log_level_option = click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="info",
    show_default=True,
    envvar="PARADROP_LOG_LEVEL",
    help="The least important log lines to write to standard error.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paradrop", prog_name="paradrop")
def main() -> None:
    """Turns this machine into an edge-compute node.

    Settings are environment variables: PARADROP_HOME (state folder), PARADROP_LISTEN (address and port),
    PARADROP_ADMIN_PASSWORD (first start only), and the rest in docs/operators.md.

    \b
    Examples:
      paradrop run
      PARADROP_LISTEN=0.0.0.0:8080 paradrop run --ensure-engine
      paradrop status --json
    """


@main.command()
@click.option(
    "--ensure-engine",
    is_flag=True,
    help="If no Docker engine answers: as root, install one with apt-get and run it until the node stops.",
)
@log_level_option
def run(ensure_engine: bool, log_level: str) -> None:
    """Runs the whole node in this process, with Envoy beside it.

    Ctrl-C or SIGTERM stops everything that it has started. It uses the Docker engine at DOCKER_HOST or at the
    usual socket; without one it runs all the same, and chutes wait.
    """

    def work(settings: Settings) -> Coroutine[Any, Any, None]:
        from services.launcher.node import run_node

        return run_node(settings, ensure_engine=ensure_engine, say=_say, began_s=BEGAN_S)

    _run(work, log_level)


@main.command()
@click.argument("service", type=click.Choice(PART_NAMES))
@log_level_option
def serve(service: str, log_level: str) -> None:
    """Runs one service alone, for deployments that give each a process of its own.

    All of them need the same PARADROP_HOME. Where their sockets are not shared, PARADROP_AUTH_ADDRESS and so
    on say where each service listens.

    \b
    Examples:
      paradrop serve auth
      PARADROP_CHUTES_ADDRESS=127.0.0.1:9003 paradrop serve chutes
    """

    def work(settings: Settings) -> Coroutine[Any, Any, None]:
        from services.launcher.part import run_part

        return run_part(service, settings)

    _run(work, log_level)


@main.command()
@click.argument("part", type=click.Choice(PART_NAMES))
@click.option("--wait", type=click.FloatRange(0, 600), default=0.0, help="Wait so many seconds until it is.")
def health(part: str, wait: float) -> None:
    """Tells whether one part answers: exits with 0 or 1. For health checks of containers."""
    from services.common.settings import SettingError, load_settings
    from services.launcher.probe import part_status

    try:
        found = part_status(part, load_settings(), wait)
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{part} {'is healthy' if found.ok else found.detail}")
    sys.exit(0 if found.ok else 1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def status(as_json: bool) -> None:
    """Tells how the node is: exits with 0 if healthy, 1 if degraded, 3 if it does not run."""
    from services.common.settings import SettingError, load_settings
    from services.launcher.status import node_status

    try:
        found = node_status(load_settings())
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else found.as_table())
    sys.exit(found.exit_status)


@main.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n", "--tail", type=click.IntRange(0, 2000), default=100, show_default=True, help="Latest lines."
)
@click.option("--service", default="", help="Only lines of this service, such as chutes.")
@click.option("--level", type=click.Choice(LOG_LEVELS), default="debug", help="The least important lines.")
@click.option(
    "--since", type=click.FloatRange(0), default=0.0, help="Only lines of the last so many minutes."
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
def logs(follow: bool, tail: int, service: str, level: str, since: float, as_json: bool) -> None:
    """Shows the latest log lines of the running node, of all its services.

    \b
    Examples:
      paradrop logs -f
      paradrop logs --service chutes --level warning --since 60
    """
    from services.common.ring import WRITERS
    from services.common.settings import SettingError, load_settings
    from services.launcher.logs import LogsError, read_logs

    if service and service not in WRITERS:
        raise click.BadParameter(f"{service!r} is not one of {', '.join(WRITERS)}.", param_hint="--service")
    try:
        for line in read_logs(
            load_settings(), follow=follow, tail=tail, service=service, level=level, since_minutes=since
        ):
            click.echo(line.as_json() if as_json else line.as_text())
    except (SettingError, LogsError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        return


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Writes everything that the node keeps into FILE; the node may run meanwhile.

    The file holds keys and passwords: only its owner can read it.
    """
    from services.common.settings import load_settings
    from services.launcher.backup import back_up

    with _explained():
        size_bytes = back_up(load_settings().home, file.absolute())
    click.echo(f"{file}: {size_bytes / 1e3:,.0f} kB")


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Puts a backup in the place of what the node keeps; stop the node before.

    What was there stays in a folder beside it.
    """
    from services.common.settings import load_settings
    from services.launcher.backup import restore as put_back

    with _explained():
        home = load_settings().home
        earlier = put_back(file.absolute(), home)
    click.echo(f"{home} is as it was in {file}." + (f" What was there is now {earlier}." if earlier else ""))


@main.command("import-uci")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def import_uci(folder: Path) -> None:
    """Turns UCI files (network, wireless, dhcp, firewall) into a host configuration on standard output.

    Of a node of Paradrop 0.13 that is the folder uci/config.d. What has no place in a host configuration is
    told on standard error.

    \b
    Examples:
      paradrop import-uci /etc/paradrop/uci/config.d > hostconfig.yaml
    """
    import yaml

    from services.common.errors import DomainError
    from services.network.domain.hostcheck import violations
    from services.network.domain.hostgenerate import generate
    from services.network.domain.uci_import import FILES
    from services.network.domain.uci_import import import_uci as imported

    texts = {name: (folder / name).read_text(errors="replace") for name in FILES if (folder / name).is_file()}
    if not texts:
        raise click.ClickException(f"{folder} has none of the files {', '.join(FILES)}; name another folder.")
    try:
        document, left = imported(texts, generate({}, None, ()))
    except DomainError as error:
        raise click.ClickException(str(error)) from None
    for sentence in left:
        click.echo(sentence, err=True)
    if wrong := violations(document):
        raise click.ClickException("\n".join(f"{place.field} {place.description}" for place in wrong))
    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


@contextmanager
def _explained() -> Iterator[None]:
    from services.launcher.errors import explain

    try:
        yield
    except Exception as error:  # An operator gets one line that says what to do.
        raise click.ClickException(explain(error)) from None


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Lets imports within the context do without modules that they only use if they are there."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is what says "not there".
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


main.add_command(airshark)
main.add_command(chute)


def _run(work: Callable[[Settings], Coroutine[Any, Any, None]], log_level: str) -> None:
    import asyncio

    # Its colours, and what it offers to other frameworks, would cost a node up to 12 MB.
    with _hidden("rich", "twisted", "greenlet"):
        import structlog

    from services.common.logs import configure_logs
    from services.common.settings import load_settings
    from services.launcher.errors import explain

    configure_logs(log_level)
    try:
        asyncio.run(work(load_settings()))
    except Exception as error:  # An operator gets one line that says what to do; --log-level debug the rest.
        structlog.get_logger().debug("the node ends", exc_info=True)
        raise click.ClickException(explain(error)) from None


def _say(text: str) -> None:
    click.echo(text)

"""The commands `paradrop chute ...`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from services.launcher.remote import Node

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
@click.option(
    "--node", "url", default="", help="Address such as http://192.168.1.1; default: of this machine."
)
@click.option("--user", default="paradrop", show_default=True, help="Who to log in as.")
@click.option(
    "--password",
    envvar="PARADROP_PASSWORD",
    prompt=True,
    hide_input=True,
    help="Better as PARADROP_PASSWORD, or asked for: others see the arguments of commands.",
)
@click.pass_context
def chute(context: click.Context, url: str, user: str, password: str) -> None:
    """Takes chutes with their data out of a running node, and puts them into one.

    \b
    Examples:
      paradrop chute export hello hello.chute.tar.gz
      paradrop chute --node http://other.local import hello.chute.tar.gz --name hello-two
    """
    from services.launcher.remote import Node

    with _explained():
        context.obj = Node(url, user, password)


@chute.command("export")
@click.argument("name")
@click.argument("file", type=FILE)
@click.option("--pause", is_flag=True, help="Hold the chute still while its data is read.")
@click.pass_obj
def export_(node: Node, name: str, file: Path, pause: bool) -> None:
    """Writes the chute NAME with its data into the new file FILE, which only its owner can read."""
    with _explained():
        size_bytes = node.export(name, file, pause)
    click.echo(f"{file}: {size_bytes / 1e3:,.0f} kB")


@chute.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", help="What the chute is to be called; default: as it was.")
@click.option("--replace", is_flag=True, help="Put it in the place of a chute of the name, data included.")
@click.option("--force", is_flag=True, help="Do not wait for the end of an update lock.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.pass_obj
def import_(node: Node, file: Path, name: str, replace: bool, force: bool, dry_run: bool) -> None:
    """Installs the chute in FILE with its data, and waits until it runs."""
    with _explained():
        answer = node.import_(file, name=name, replace=replace, force=force, dry_run=dry_run)
        if dry_run:
            for step in answer["plan"]["steps"]:
                click.echo(f"{step['name']}: {step['description']}")
            return
        for message in node.follow(answer["change_id"]):
            click.echo(message)


@contextmanager
def _explained() -> Iterator[None]:
    from services.launcher.remote import RemoteError

    try:
        yield
    except RemoteError as error:
        raise click.ClickException(str(error)) from None

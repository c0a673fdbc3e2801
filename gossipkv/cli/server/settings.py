"""`gossipkv settings`."""

from __future__ import annotations

import dataclasses

import click

from gossipkv.cli.options.setting_options import loaded, setting_options
from gossipkv.cli.terminal.output import echo_json, echo_lines, print_table
from gossipkv.config import settings


@click.command("settings")
@click.option("--markdown", is_flag=True, help="Write the page docs/settings.md to standard output.")
@click.option(
    "--toml", "as_toml", is_flag=True, help="Write the values in force as a settings file to standard output."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@setting_options
@click.pass_obj
def settings_command(
    environment: dict[str, str],
    /,
    markdown: bool,
    as_toml: bool,
    output: str,
    config: str | None,
    **flags: str | None,
) -> None:
    """Show the settings that `serve` would run with, given the same flags, environment and file."""
    if markdown:
        echo_lines(settings.to_markdown().removesuffix("\n"))
        return
    in_force, sources = loaded(flags, environment, config)
    values = dataclasses.asdict(in_force)
    if as_toml:
        echo_lines(settings.to_toml(values).removesuffix("\n"))
    elif output == "json":
        listed = {name: {"value": value, "source": sources[name]} for name, value in values.items()}
        echo_json(listed, indent=2)
    else:
        meanings = settings.rules()
        print_table(
            ("setting", "value", "source", "meaning"),
            [(name, str(value), sources[name], meanings[name][2].help) for name, value in values.items()],
        )

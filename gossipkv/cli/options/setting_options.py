"""One option per setting, from the settings' own table."""

from __future__ import annotations

from collections.abc import Mapping

import click

from gossipkv.cli.options.format_option import Command
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.config import settings
from gossipkv.config.settings import Settings, SettingsError


def setting_options(command: Command) -> Command:
    """Give a command `--config` and a flag for each setting. Their text is checked by `settings.load`, so that a value
    is refused in the same words wherever it comes from."""
    for name, (kind, default, rule) in reversed(settings.rules().items()):
        shown = rule.default_text or default
        unit = f", {rule.unit}" if rule.unit else ""
        metavar = "|".join(rule.choices) or {str: "TEXT", int: "N", float: "X"}[kind]
        command = click.option(settings.flag_of(name), name, metavar=metavar, help=f"{rule.help} [{shown}{unit}]")(
            command
        )
    return click.option("--config", metavar="FILE", help="TOML file with settings. [GOSSIPKV_CONFIG]")(command)


def loaded(
    flags: Mapping[str, str | None], environment: Mapping[str, str], config: str | None
) -> tuple[Settings, dict[str, str]]:
    try:
        return settings.load(flags, environment, config)
    except SettingsError as error:
        raise Failure(str(error), ExitCode.USAGE) from error

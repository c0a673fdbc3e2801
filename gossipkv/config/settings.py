"""The settings of a member: one table, four sources.

A value comes from the first source that has one: flag, environment (`GOSSIPKV_` and the setting's name in capitals),
file (TOML; the keys are the names of the settings), default. An empty environment variable counts as not set. An
unknown key in the file is an error. An unknown variable in the environment is not, because Kubernetes sets
`GOSSIPKV_SERVICE_HOST` and the like for a Service named gossipkv.

This module does not read the environment. Its callers pass one.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gossipkv.rows.arguments.limits import NAME_BYTES_MAX, PAGE_ROWS_MAX

ENVIRONMENT_PREFIX = "GOSSIPKV_"
CONFIG_VARIABLE = "GOSSIPKV_CONFIG"

_MIB = 2**20
STORAGE_BYTES_LEAST = 16 * 2**20
"""The smallest storage that holds rows beside the reserves of `core/model/room.py`."""
_PAGE_BYTES = 4096

Value = str | int | float


class SettingsError(Exception):
    """The error of a wrong setting: its name, the source of its value, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The meaning of a setting and the values it may have; `field.metadata["rule"]`."""

    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    multiple: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    bytes_max: int | None = None
    """The maximum size of a text, in UTF-8."""
    default_text: str = ""
    """The text shown in place of a default that is computed at start."""
    metrics: tuple[str, ...] = ()
    """The metrics of a bound: how much of it is in use, or what was refused or cut off because of it."""

    def allowed(self, kind: type[Value]) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if kind is str:
            bound = "" if self.bytes_max is None else f" of at most {self.bytes_max} bytes"
            return f"text that matches {self.pattern}" if self.pattern else f"text{bound}"
        limits = f"{self.minimum:,} to {self.maximum:,}" if self.maximum is not None else f"{self.minimum:,} or more"
        multiple = f", a multiple of {self.multiple:,}" if self.multiple else ""
        noun = "a whole number" if kind is int else "a number"
        return f"{noun}{' of ' + self.unit if self.unit else ''}, {limits}{multiple}"

    def permits(self, value: Value) -> bool:
        if isinstance(value, str):
            if self.choices:
                return value in self.choices
            try:
                size_bytes = len(value.encode())
            except UnicodeEncodeError:
                return False
            if self.bytes_max is not None and size_bytes > self.bytes_max:
                return False
            return not self.pattern or not value or re.fullmatch(self.pattern, value) is not None
        if self.minimum is not None and not value >= self.minimum:
            # Written so that NaN is not permitted either.
            return False
        if self.maximum is not None and value > self.maximum:
            return False
        return self.multiple is None or value % self.multiple == 0


def _text(
    default: str,
    help: str,  # noqa: A002
    *,
    pattern: str = "",
    bytes_max: int | None = None,
    default_text: str = "",
) -> Any:
    rule = Rule(help, pattern=pattern, bytes_max=bytes_max, default_text=default_text)
    return field(default=default, metadata={"rule": rule})


def _choice(default: str, choices: tuple[str, ...], help: str) -> Any:  # noqa: A002
    return field(default=default, metadata={"rule": Rule(help, choices=choices)})


def _number(
    default: float,
    help: str,  # noqa: A002
    unit: str = "",
    *,
    minimum: float = 1,
    maximum: float | None = None,
    multiple: int | None = None,
    metrics: tuple[str, ...] = (),
) -> Any:
    rule = Rule(help, unit, minimum=minimum, maximum=maximum, multiple=multiple, metrics=metrics)
    return field(default=default, metadata={"rule": rule})


def _port(default: int, help: str) -> Any:  # noqa: A002
    return _number(default, help, maximum=65_535)


_HELD = ("gossipkv_intake_used", "gossipkv_intake_refused_total")
"""The metrics of an `intake.bound.Bound`, by its name."""
_NAME = r"[A-Za-z0-9_.-]{1,128}"
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    member: str = _text("", "Name of this member, unique in the cluster.", pattern=_NAME, default_text="the host name")
    cluster: str = _text("gossipkv", "Name of the cluster; messages of other clusters are refused.", pattern=_NAME)
    data_dir: str = _text(".gossipkv/data", "Directory of this member's data; only one process may use it at a time.")
    zone: str = _text(
        "", "Failure domain of this member, shown to others.", bytes_max=NAME_BYTES_MAX, default_text="none"
    )

    http_host: str = _text("127.0.0.1", "Address to serve the HTTP API on; 0.0.0.0 for all addresses.")
    http_port: int = _port(7080, "Port of the HTTP API.")
    gossip_host: str = _text("127.0.0.1", "Address to serve gossip on; 0.0.0.0 for all addresses.")
    gossip_port: int = _port(7081, "Port of gossip between members.")
    advertise_host: str = _text(
        "",
        "Host name or address at which other members reach this member.",
        default_text="the address served on; that of the host name if it is 0.0.0.0",
    )

    discovery: str = _choice("static", ("static", "dns", "kubernetes"), "Where addresses of other members come from.")
    peers: str = _text(
        "", "Gossip URLs of members, separated by commas; may include this member's own.", default_text="none"
    )
    discovery_dns_name: str = _text(
        "",
        "DNS name that resolves to the members. Used by discovery by DNS, and if the Kubernetes API cannot be asked.",
        default_text="none",
    )
    discovery_service: str = _text(
        "",
        "Headless Service whose EndpointSlices list the members, for discovery by Kubernetes.",
        pattern=_NAME,
        default_text="none",
    )
    discovery_namespace: str = _text(
        "", "Kubernetes namespace of that Service.", pattern=_NAME, default_text="that of the pod"
    )
    dialled_hosts: str = _choice(
        "auto",
        ("auto", "discovered", "recorded"),
        "Which hosts in records of members are dialled. discovered: those that discovery has found. recorded: all. "
        "auto: discovered as soon as discovery has named all members (Kubernetes), otherwise recorded.",
    )
    discovery_interval_s: float = _number(
        5.0,
        "Interval between look-ups of members. Discovery by Kubernetes watches instead.",
        "seconds",
        minimum=0.1,
        maximum=3600,
    )

    gossip_interval_ms: int = _number(
        1_000,
        "Interval between sync rounds that this member begins.",
        "milliseconds",
        minimum=10,
        maximum=_HOUR_MS,
    )
    audit_interval_ms: int = _number(
        60_000,
        "Interval between routine full comparisons.",
        "milliseconds",
        minimum=100,
        maximum=86_400_000,
    )
    bootstrap_timeout_ms: int = _number(
        10_000,
        "A member that has received no answer for this long after its start is ready on its own.",
        "milliseconds",
        maximum=_HOUR_MS,
        metrics=("gossipkv_ready",),
    )
    forget_silence_ms: int = _number(
        600_000,
        "A member that was heard within this time is forgotten only by force. Even then, other members wait until they "
        "have not heard it for this long.",
        "milliseconds",
        minimum=0,
        maximum=86_400_000,
    )
    retry_ms_max: int = _number(
        30_000,
        "Longest pause before a failing member is tried again.",
        "milliseconds",
        minimum=10,
        maximum=_HOUR_MS,
    )
    protocol_period_ms: int = _number(
        1_000,
        "Interval between probes that check whether another member is alive.",
        "milliseconds",
        minimum=50,
        maximum=_HOUR_MS,
    )
    probe_timeout_ms: int = _number(
        500,
        "A member that does not answer a probe in this time is probed through others. Must be less than a protocol "
        "period.",
        "milliseconds",
        minimum=10,
        maximum=_HOUR_MS,
        metrics=("gossipkv_probes_total",),
    )
    indirect_probes: int = _number(
        3,
        "Number of other members through which a member that does not answer is probed.",
        "members",
        minimum=0,
        maximum=16,
    )
    suspicion_multiplier: int = _number(
        4,
        "A suspected member is declared dead after this many times log10(members + 1) protocol periods. It takes up to "
        "six times as long while few others confirm the suspicion.",
        minimum=1,
        maximum=100,
    )
    clock_skew_ms_max: int = _number(
        600_000,
        "Rows stamped further ahead of the local clock are refused. A member whose clock differs from the median by "
        "more refuses writes.",
        "milliseconds",
        maximum=86_400_000,
        metrics=(
            "gossipkv_clock_ahead_seconds",
            "gossipkv_clock_off",
            'gossipkv_rows_refused_total{reason="clock_skew"}',
        ),
    )
    tombstone_age_ms_min: int = _number(
        _HOUR_MS,
        "Minimum age at which tombstones are collected. Must exceed clock_skew_ms_max and message_life_ms together.",
        "milliseconds",
        maximum=365 * 24 * _HOUR_MS,
    )
    message_life_ms: int = _number(
        60_000,
        "Maximum time from sending a message between members to its arrival. Must exceed exchange_timeout_s.",
        "milliseconds",
        maximum=_HOUR_MS,
    )
    members_max: int = _number(
        1_000,
        "Maximum number of other members; records of more are refused.",
        "members",
        minimum=8,
        maximum=2_000,
        metrics=("gossipkv_members", 'gossipkv_member_records_refused_total{reason="too_many"}'),
    )
    context_origins_max: int = _number(
        8_192,
        "Maximum number of replicas that messages name, per shard; retired replicas do not count. Beyond it, only "
        "writes of listed members are accepted.",
        "replicas",
        minimum=64,
        maximum=14_000,
        metrics=("gossipkv_context_entries", "gossipkv_origins_refused_total"),
    )
    metrics_peers_max: int = _number(
        100,
        "Maximum number of members that have series of their own in /metrics.",
        "members",
        maximum=2_000,
        metrics=("gossipkv_members_without_series",),
    )
    fanout: int = _number(
        0,
        "Number of members that a write is pushed to directly; 0: as many as are needed to reach all.",
        minimum=0,
        maximum=1_000,
    )
    siblings_max: int = _number(
        64,
        "Maximum number of siblings that a write may leave in a row.",
        "versions",
        minimum=2,
        maximum=1_000,
        metrics=('gossipkv_http_requests_total{status="409"}', "gossipkv_siblings_over_limit_total"),
    )
    exchange_timeout_s: float = _number(
        10.0,
        "Longest exchange between two members.",
        "seconds",
        minimum=0.1,
        maximum=300,
        metrics=(
            'gossipkv_exchange_failures_total{fault="timeout"}',
            'gossipkv_intake_refused_total{cause="gossip_body_timeout"}',
            'gossipkv_intake_refused_total{cause="gossip_answer_timeout"}',
        ),
    )
    connect_timeout_s: float = _number(
        3.0,
        "Longest wait for a connection to another member.",
        "seconds",
        minimum=0.1,
        maximum=60,
        metrics=('gossipkv_exchange_failures_total{fault="timeout"}',),
    )

    storage_bytes_max: int = _number(
        65_536 * _MIB,
        "Maximum size of the data.",
        "bytes",
        minimum=STORAGE_BYTES_LEAST,
        maximum=2**46,
        multiple=_PAGE_BYTES,
        metrics=("gossipkv_storage_used_ratio", "gossipkv_short_of_room", "gossipkv_puts_refused_total"),
    )
    value_bytes_max: int = _number(
        _MIB,
        "Maximum size of a value that a client may put at this member.",
        "bytes",
        maximum=4 * _MIB,
        metrics=('gossipkv_http_requests_total{status="413"}',),
    )
    page_rows_max: int = _number(
        1_000, "Maximum number of rows in a page of a listing.", "rows", minimum=1_000, maximum=PAGE_ROWS_MAX
    )
    page_bytes_max: int = _number(
        4 * _MIB, "Maximum size of a page of a listing; a single row may exceed it.", "bytes", maximum=64 * _MIB
    )
    body_timeout_s: float = _number(
        30.0,
        "Longest wait for the body of a request, or for the next part of a batch.",
        "seconds",
        minimum=0.1,
        maximum=600,
        metrics=('gossipkv_http_requests_total{status="408"}',),
    )
    inbox_operations_max: int = _number(
        10_000,
        "Maximum number of writes that wait for the storage; more are answered 503.",
        "operations",
        maximum=1_000_000,
        metrics=_HELD,
    )
    inbox_bytes_max: int = _number(
        64 * _MIB,
        "Maximum size of the values of writes that wait for the storage; more are answered 503.",
        "bytes",
        minimum=8 * _MIB,
        maximum=1024 * _MIB,
        metrics=_HELD,
    )
    inbox_frames_bytes_max: int = _number(
        16 * _MIB,
        "Maximum size of messages from other members that wait for the storage; more are refused, and sent again.",
        "bytes",
        minimum=4 * _MIB,
        maximum=1024 * _MIB,
        metrics=_HELD,
    )
    http_bodies_bytes_max: int = _number(
        24 * _MIB,
        "Maximum size of the bodies of all requests under way, lines of batches included; more are answered 503.",
        "bytes",
        minimum=8 * _MIB,
        maximum=4096 * _MIB,
        metrics=_HELD,
    )
    http_answers_bytes_max: int = _number(
        32 * _MIB,
        "Maximum size of the answers that wait for clients to read them; more are answered 503.",
        "bytes",
        minimum=8 * _MIB,
        maximum=4096 * _MIB,
        metrics=_HELD,
    )
    http_connections_max: int = _number(
        1_024,
        "Maximum number of connections to the HTTP API, idle ones included.",
        "connections",
        maximum=65_536,
        metrics=_HELD,
    )
    http_connections_per_address_max: int = _number(
        256,
        "Maximum number of connections to the HTTP API from one address; raise it if clients come through a proxy.",
        "connections",
        maximum=65_536,
        metrics=_HELD,
    )
    gossip_bodies_bytes_max: int = _number(
        16 * _MIB,
        "Maximum size of the messages from other members that are being received or answered; more are refused, and "
        "sent again.",
        "bytes",
        minimum=4 * _MIB,
        maximum=1024 * _MIB,
        metrics=_HELD,
    )
    gossip_answers_bytes_max: int = _number(
        16 * _MIB,
        "Maximum size of the answers that wait for other members to read them; more are refused.",
        "bytes",
        minimum=4 * _MIB,
        maximum=1024 * _MIB,
        metrics=_HELD,
    )
    gossip_connections_max: int = _number(
        1_024,
        "Maximum number of connections to the gossip port, idle ones included.",
        "connections",
        maximum=65_536,
        metrics=_HELD,
    )
    gossip_connections_per_address_max: int = _number(
        256,
        "Maximum number of connections to the gossip port from one address.",
        "connections",
        maximum=65_536,
        metrics=_HELD,
    )
    gossip_requests_max: int = _number(
        128,
        "Maximum number of messages from other members that are answered at once; more are refused, and sent again.",
        "messages",
        minimum=8,
        maximum=65_536,
        metrics=_HELD,
    )
    head_timeout_s: float = _number(
        10.0,
        "Longest wait for the headers of a request, from the opening of the connection or from their first byte.",
        "seconds",
        minimum=0.1,
        maximum=600,
        metrics=(
            'gossipkv_intake_refused_total{cause="http_head_timeout"}',
            'gossipkv_intake_refused_total{cause="gossip_head_timeout"}',
        ),
    )
    answer_timeout_s: float = _number(
        30.0,
        "A client that reads an answer more slowly than 1 KiB per second for this long is cut off.",
        "seconds",
        minimum=0.1,
        maximum=600,
        metrics=('gossipkv_intake_refused_total{cause="http_answer_timeout"}',),
    )
    write_wait_s: float = _number(
        2.0,
        "How long a write waits for its copies, unless the request says otherwise.",
        "seconds",
        minimum=0,
        maximum=600,
        metrics=('gossipkv_quorum_writes_total{result="stored_here"}',),
    )
    read_wait_s: float = _number(
        2.0,
        "How long a read waits for answers of other members.",
        "seconds",
        minimum=0,
        maximum=600,
        metrics=('gossipkv_http_requests_total{status="503"}',),
    )
    watch_heartbeat_s: float = _number(
        15.0,
        "Interval between heartbeats to a watcher that gets no events.",
        "seconds",
        minimum=0.1,
        maximum=600,
    )
    watch_buffer_bytes_max: int = _number(
        4 * _MIB,
        "Maximum size of the events buffered for a watcher; a slower watcher is dropped.",
        "bytes",
        minimum=64 * 1024,
        maximum=256 * _MIB,
        metrics=("gossipkv_watches_dropped_total",),
    )
    watch_buffers_bytes_max: int = _number(
        32 * _MIB,
        "Maximum size of the events buffered for all watchers. An event that several watchers wait for counts once. "
        "Beyond it, slow watchers are dropped.",
        "bytes",
        minimum=4 * _MIB,
        maximum=4096 * _MIB,
        metrics=_HELD,
    )
    watch_resume_timeout_s: float = _number(
        10.0,
        "How long a resumed watch waits for this member to catch up with its event id, before it is reset.",
        "seconds",
        minimum=0,
        maximum=600,
        metrics=("gossipkv_watch_resets_total",),
    )
    drain_s: float = _number(
        1.0,
        "How long a stopping member still takes requests, one per connection. It ends earlier if no connection is "
        "open, and after at most a quarter of stop_timeout_s.",
        "seconds",
        minimum=0,
        maximum=60,
    )
    stop_timeout_s: float = _number(
        20.0,
        "Longest graceful stop; the process then exits immediately.",
        "seconds",
        minimum=0.1,
        maximum=600,
    )

    log_format: str = _choice(
        "auto", ("auto", "json", "console"), "Format of log lines; auto: console on a terminal, otherwise JSON."
    )
    log_level: str = _choice("info", ("debug", "info", "warning", "error"), "Minimum severity of lines to log.")


def rules() -> dict[str, tuple[type[Value], Value, Rule]]:
    """Return the type, default and rule of each setting, in order."""
    table = {}
    for each in dataclasses.fields(Settings):
        default: Any = each.default
        table[each.name] = (type(default), default, each.metadata["rule"])
    return table


def variable_of(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper()


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def load(
    flags: Mapping[str, str | None], environment: Mapping[str, str], config: str | None = None
) -> tuple[Settings, dict[str, str]]:
    """Return the settings from all sources, and the source of each. `flags` has the text given for each flag, or None.
    `config` is the file given by a flag. Raises SettingsError."""
    path = config or environment.get(CONFIG_VARIABLE) or None
    from_file = _read_file(Path(path)) if path else {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, (kind, default, rule) in rules().items():
        if (flag := flags.get(name)) is not None:
            sources[name] = flag_of(name)
            values[name] = _parsed(name, flag, sources[name], kind, rule)
        elif variable := environment.get(variable_of(name)):
            sources[name] = variable_of(name)
            values[name] = _parsed(name, variable, sources[name], kind, rule)
        elif name in from_file:
            sources[name] = str(path)
            values[name] = _typed(name, from_file[name], sources[name], kind, rule)
        else:
            sources[name] = "default"
            values[name] = default
    settings = Settings(**values)
    check_together(settings)
    return settings, sources


def check_each(settings: Settings, source: str) -> None:
    """Check each setting that a program gives against its rule. Raises SettingsError."""
    for name, (kind, _, rule) in rules().items():
        _typed(name, getattr(settings, name), source, kind, rule)


def check_together(settings: Settings) -> None:
    """Check rules between settings. Raises SettingsError."""
    if not settings.cluster:
        raise SettingsError("cluster is empty, but must be a name: it tells messages of different clusters apart")
    life_ms, skew_ms = settings.message_life_ms, settings.clock_skew_ms_max
    exchange_ms = round(settings.exchange_timeout_s * 1_000)
    if life_ms <= exchange_ms:
        raise SettingsError(
            f"message_life_ms is {life_ms}, but must be above exchange_timeout_s ({exchange_ms} milliseconds): an "
            "exchange that is still under way may bring what was sent at its beginning"
        )
    if settings.tombstone_age_ms_min <= skew_ms + life_ms:
        raise SettingsError(
            f"tombstone_age_ms_min is {settings.tombstone_age_ms_min}, but must be above clock_skew_ms_max and "
            f"message_life_ms together ({skew_ms} + {life_ms}): a deletion must be remembered while something older "
            "than it may arrive"
        )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from error
    known = rules()
    for key in content:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise SettingsError(f"{key!r} in the file {path} is not a setting; the closest name is {nearest[0]!r}")
    return content


def _parsed(name: str, text: str, source: str, kind: type[Value], rule: Rule) -> Value:
    try:
        value = kind(text)
    except ValueError:
        raise _refused(name, text, source, kind, rule) from None
    if not rule.permits(value):
        raise _refused(name, text, source, kind, rule)
    return value


def _typed(name: str, value: Any, source: str, kind: type[Value], rule: Rule) -> Value:
    """Check a value that TOML has given a type. Peers may be a list in TOML."""
    if name == "peers" and isinstance(value, list) and all(isinstance(peer, str) for peer in value):
        value = ",".join(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or not rule.permits(value):
        raise _refused(name, value, source, kind, rule)
    checked: Value = value
    return checked


def _refused(name: str, value: object, source: str, kind: type[Value], rule: Rule) -> SettingsError:
    hint = ""
    if isinstance(value, str) and value.startswith("tcp://"):
        hint = "; this one looks made up by Kubernetes for a Service: set enableServiceLinks: false in the pod"
    return SettingsError(f"{name} is {value!r} by {source}, but must be {rule.allowed(kind)}{hint}")


def to_toml(values: Mapping[str, Value]) -> str:
    """Compose a settings file. TOML's basic strings are JSON's."""
    lines = []
    for name, value in values.items():
        text = json.dumps(value) if isinstance(value, str) else str(value)
        lines.append(f"{name} = {text}\n")
    return "".join(lines)


_MARKDOWN_HEAD = """# Settings

<!-- Written by `gossipkv settings --markdown`, from gossipkv/config/settings.py; a test holds the two in step. -->

A value comes from the first source that has one: flag of `gossipkv serve`, environment, file, default. The file is
TOML, with the names of the first column as keys. `--config FILE` or `GOSSIPKV_CONFIG` names it. `gossipkv settings`
shows the values in force and the source of each.

The metric shows how much of a bound is in use, or how often something was refused or cut off because of it. For a bound
on a single request, it counts the answers with the status. `gossipkv_intake_used` and `gossipkv_intake_refused_total`
have the setting in the label `bound` or `cause`. `gossipkv_intake_limit` has the limit. What to do about refusals:
[operations.md](operations.md#requests-are-refused-with-503-overloaded-or-connections-are-refused).

| setting | environment | default | allowed | meaning | metric |
| --- | --- | --- | --- | --- | --- |
"""


def to_markdown() -> str:
    """Compose docs/settings.md."""
    lines = [_MARKDOWN_HEAD]
    for name, (kind, default, rule) in rules().items():
        shown = rule.default_text or (f"`{default}`" if kind is str else f"{default:,}")
        cells = (
            f"`{name}`, `{flag_of(name)}`",
            f"`{variable_of(name)}`",
            shown,
            rule.allowed(kind).replace("|", "\\|"),
            rule.help,
            ", ".join(f"`{metric}`" for metric in rule.metrics),
        )
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)

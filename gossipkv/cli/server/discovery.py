"""The discovery that the settings ask for. Only the chosen one is imported."""

from __future__ import annotations

from pathlib import Path

from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.config.settings import Settings, flag_of, variable_of
from gossipkv.discovery.base import Discovery

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def chosen_discovery(settings: Settings, member: str) -> Discovery:
    """`member` is this member's own name. Raises Failure where a setting is missing."""
    match settings.discovery:
        case "dns":
            from gossipkv.discovery.dns import DnsDiscovery

            name = _needed(
                settings.discovery_dns_name, "discovery_dns_name", "discovery by DNS needs a name to look up"
            )
            return DnsDiscovery(name, settings.gossip_port, settings.discovery_interval_s)
        case "kubernetes":
            return _kubernetes_discovery(settings, member)
        case _:
            from gossipkv.discovery.static import StaticDiscovery

            return StaticDiscovery(_peers(settings), settings.discovery_interval_s)


def _kubernetes_discovery(settings: Settings, member: str) -> Discovery:
    from gossipkv.discovery.dns import DnsDiscovery
    from gossipkv.discovery.kubernetes import KubernetesDiscovery

    service = _needed(
        settings.discovery_service,
        "discovery_service",
        "discovery by Kubernetes needs the headless Service of the members",
    )
    namespace = _needed(
        settings.discovery_namespace or _own_namespace(),
        "discovery_namespace",
        f"discovery by Kubernetes needs the namespace of the Service, and this process is in none ({NAMESPACE_FILE})",
    )
    name = settings.discovery_dns_name
    fallback = DnsDiscovery(name, settings.gossip_port).look_up if name else None
    return KubernetesDiscovery(service, namespace, member, settings.gossip_port, fallback)


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text().strip()
    except OSError:
        return ""


def _needed(value: str, setting: str, why: str) -> str:
    if not value:
        raise Failure(f"{why}: {flag_of(setting)} or {variable_of(setting)}", ExitCode.USAGE)
    return value


def _peers(settings: Settings) -> list[str]:
    peers = [peer.strip().rstrip("/") for peer in settings.peers.split(",") if peer.strip()]
    for peer in peers:
        if not peer.startswith(("http://", "https://")):
            raise Failure(
                f"the peer {peer!r} ({flag_of('peers')}, {variable_of('peers')}) is no gossip URL, "
                f"such as http://10.0.0.7:{settings.gossip_port}",
                ExitCode.USAGE,
            )
    return peers

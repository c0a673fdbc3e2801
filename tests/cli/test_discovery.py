"""The discovery that the settings ask for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gossipkv.cli.server import discovery
from gossipkv.cli.server.discovery import chosen_discovery
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.config.settings import Settings
from gossipkv.discovery.dns import DnsDiscovery
from gossipkv.discovery.kubernetes import KubernetesDiscovery
from gossipkv.discovery.static import StaticDiscovery


@pytest.fixture(autouse=True)
def namespace_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(discovery, "NAMESPACE_FILE", tmp_path / "namespace")
    return tmp_path / "namespace"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Settings(), StaticDiscovery),
        (Settings(discovery="dns", discovery_dns_name="kv"), DnsDiscovery),
        (
            Settings(discovery="kubernetes", discovery_service="kv", discovery_namespace="shop"),
            KubernetesDiscovery,
        ),
    ],
)
def test_the_one_that_is_asked_for_is_made(settings: Settings, kind: type) -> None:
    assert isinstance(chosen_discovery(settings, "kv-0"), kind)


@pytest.mark.parametrize(
    ("settings", "flag", "variable"),
    [
        (Settings(discovery="dns"), "--discovery-dns-name", "GOSSIPKV_DISCOVERY_DNS_NAME"),
        (
            Settings(discovery="kubernetes", discovery_namespace="shop"),
            "--discovery-service",
            "GOSSIPKV_DISCOVERY_SERVICE",
        ),
        (
            Settings(discovery="kubernetes", discovery_service="kv"),
            "--discovery-namespace",
            "GOSSIPKV_DISCOVERY_NAMESPACE",
        ),
        (Settings(peers="10.0.0.1:7081"), "--peers", "GOSSIPKV_PEERS"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(settings: Settings, flag: str, variable: str) -> None:
    with pytest.raises(Failure) as failure:
        chosen_discovery(settings, "kv-0")
    assert failure.value.exit_code == ExitCode.USAGE
    assert flag in str(failure.value)
    assert variable in str(failure.value)


def test_the_namespace_is_that_of_the_pod_unless_it_is_given(namespace_file: Path) -> None:
    namespace_file.write_text("shop\n")
    settings = Settings(discovery="kubernetes", discovery_service="kv")
    assert isinstance(chosen_discovery(settings, "kv-0"), KubernetesDiscovery)


@pytest.mark.parametrize("asked", ["static", "dns", "kubernetes"])
def test_the_kubernetes_client_is_imported_by_no_choice_before_it_is_used(asked: str) -> None:
    program = (
        "import sys\n"
        "import gossipkv.cli.server.serve\n"
        "from gossipkv.cli.server.discovery import chosen_discovery\n"
        "from gossipkv.config.settings import Settings\n"
        f"settings = Settings(discovery={asked!r}, discovery_dns_name='kv', discovery_service='kv',"
        " discovery_namespace='shop')\n"
        "chosen_discovery(settings, 'kv-0')\n"
        "print('kubernetes' in sys.modules, 'gossipkv.discovery.kubernetes' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", str(asked == "kubernetes")]

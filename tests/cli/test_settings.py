from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gossipkv.config import settings
from gossipkv.config.settings import Settings, SettingsError, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_without_any_source_the_defaults_stand() -> None:
    values, sources = load({}, {})
    assert values == Settings()
    assert set(sources.values()) == {"default"}


def test_a_flag_goes_before_the_environment_which_goes_before_the_file(file: Path) -> None:
    file.write_text('http_port = 1\nmember = "file"\nzone = "file"\n')
    environment = {"GOSSIPKV_HTTP_PORT": "2", "GOSSIPKV_MEMBER": "environment", "GOSSIPKV_CONFIG": str(file)}
    values, sources = load({"http_port": "3"}, environment)
    assert (values.http_port, values.member, values.zone) == (3, "environment", "file")
    assert sources["http_port"] == "--http-port"
    assert sources["member"] == "GOSSIPKV_MEMBER"
    assert sources["zone"] == str(file)


def test_the_file_of_the_flag_goes_before_that_of_the_environment(file: Path, tmp_path: Path) -> None:
    file.write_text("http_port = 1\n")
    values, _ = load({}, {"GOSSIPKV_CONFIG": str(tmp_path / "absent.toml")}, str(file))
    assert values.http_port == 1


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"GOSSIPKV_HTTP_PORT": ""})[0].http_port == 7080


def test_what_kubernetes_makes_up_for_a_service_is_no_error_unless_it_is_taken_for_a_setting() -> None:
    load({}, {"GOSSIPKV_SERVICE_HOST": "10.0.0.1", "GOSSIPKV_PORT": "tcp://10.0.0.1:7080"})
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        load({}, {"GOSSIPKV_HTTP_PORT": "tcp://10.0.0.1:7080"})


def test_an_unknown_key_in_the_file_is_named_with_the_nearest_known(file: Path) -> None:
    file.write_text("htp_port = 1\n")
    with pytest.raises(SettingsError, match=r"'htp_port' in the file .* closest name is .http_port'"):
        load({}, {}, str(file))


@pytest.mark.parametrize("content", ["http_port = ", "\udcff"])
def test_a_file_that_is_not_toml_is_named(file: Path, content: str) -> None:
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError, match=r"settings\.toml is not TOML"):
        load({}, {}, str(file))


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml cannot be read: No such file"):
        load({}, {}, str(file))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("http_port", "seven"),
        ("http_port", "0"),
        ("http_port", "65536"),
        ("http_port", "1.5"),
        ("discovery", "magic"),
        ("discovery_interval_s", "nan"),
        ("discovery_interval_s", "-1"),
        ("storage_bytes_max", "16777217"),
        ("storage_bytes_max", "8388608"),
        ("member", "a member"),
        ("log_format", "JSON"),
    ],
)
def test_a_bad_value_is_refused_with_setting_source_and_what_is_allowed(name: str, text: str) -> None:
    kind, _, rule = settings.rules()[name]
    sources: list[tuple[dict[str, str | None], dict[str, str]]] = [
        ({name: text}, {}),
        ({}, {settings.variable_of(name): text}),
    ]
    for source in sources:
        with pytest.raises(SettingsError) as refusal:
            load(*source)
        assert name in str(refusal.value)
        assert text in str(refusal.value)
        assert rule.allowed(kind) in str(refusal.value)
        assert (settings.flag_of(name) if source[0] else settings.variable_of(name)) in str(refusal.value)


@pytest.mark.parametrize("line", ['http_port = "7080"', "http_port = true", "http_port = 7080.0", "member = 3"])
def test_a_value_of_another_type_in_the_file_is_refused(file: Path, line: str) -> None:
    file.write_text(line)
    with pytest.raises(SettingsError, match="must be"):
        load({}, {}, str(file))


def test_peers_may_be_a_list_in_the_file_and_a_whole_number_may_stand_for_a_fraction(file: Path) -> None:
    file.write_text('peers = ["http://a:1", "http://b:1"]\ndiscovery_interval_s = 3\n')
    values, _ = load({}, {}, str(file))
    assert values.peers == "http://a:1,http://b:1"
    assert values.discovery_interval_s == 3.0


def test_a_written_settings_file_reads_back_the_same(file: Path) -> None:
    values = Settings(member="a", zone='quote " and \\ and ü', http_port=1, discovery_interval_s=0.5)
    file.write_text(settings.to_toml(dataclasses.asdict(values)))
    assert load({}, {}, str(file))[0] == values


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"tombstone_age_ms_min": "660000"}, r"tombstone_age_ms_min is 660000.*\(600000 \+ 60000\)"),
        ({"clock_skew_ms_max": "3600000"}, r"tombstone_age_ms_min is 3600000"),
        ({"message_life_ms": "10000"}, r"message_life_ms is 10000.*exchange_timeout_s \(10000 milliseconds\)"),
        ({"exchange_timeout_s": "60"}, r"message_life_ms is 60000"),
    ],
)
def test_a_deletion_is_remembered_for_longer_than_what_is_older_can_be_under_way(
    flags: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        load(flags, {})


def test_a_deletion_may_be_remembered_for_just_longer_than_that() -> None:
    values, _ = load({"tombstone_age_ms_min": "660001", "message_life_ms": "60000"}, {})
    assert values.tombstone_age_ms_min == 660_001


def test_every_default_is_allowed() -> None:
    for name, (_, default, rule) in settings.rules().items():
        assert rule.permits(default), name


def test_the_documentation_of_settings_is_in_step() -> None:
    """To renew it: `gossipkv settings --markdown > docs/settings.md`."""
    documented = Path(__file__).parents[2] / "docs" / "settings.md"
    assert documented.read_text() == settings.to_markdown()

"""Where a setting comes from, and that nothing misunderstood gets through."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core import counting
from visitstats.core.counting import HOUR_MS
from visitstats.settings import SETTINGS, InvalidSetting, Setting, Settings
from visitstats.store import keys


@pytest.fixture(autouse=True)
def no_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refusal(overrides: dict[str, object] | None = None, environ: dict[str, str] | None = None, **file: Path) -> str:
    with pytest.raises(InvalidSetting) as refused:
        Settings.load(overrides, environ, **file)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_defaults_serve_this_machine_only_with_an_embedded_store(tmp_path: Path) -> None:
    settings = Settings.load()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8080, 1)
    assert settings.redis_url == ""
    assert settings.data_dir == tmp_path / "visitstats-data"
    assert settings.trusted_proxies == ("127.0.0.0/8", "::1/128")


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    written(tmp_path / "visitstats.toml", 'port = 1\nworkers = 2\nhost = "0.0.0.0"\n')
    settings = Settings.load({"port": 3}, {"VISITSTATS_PORT": "2", "VISITSTATS_WORKERS": "4"})
    assert (settings.port, settings.workers, settings.host, settings.batch_max_hits) == (3, 4, "0.0.0.0", 255)  # noqa: S104


def test_an_option_that_was_not_given_overrides_nothing() -> None:
    assert Settings.load({"port": None}, {"VISITSTATS_PORT": "2"}).port == 2


def test_the_file_is_the_one_named_on_the_command_line_then_in_the_environment_then_the_one_here(
    tmp_path: Path,
) -> None:
    written(tmp_path / "visitstats.toml", "port = 1")
    environ = {"VISITSTATS_CONFIG": str(written(tmp_path / "second.toml", "port = 2"))}
    third = written(tmp_path / "third.toml", "port = 3")
    assert Settings.load().port == 1
    assert Settings.load(environ=environ).port == 2
    assert Settings.load(environ=environ, config=third).port == 3


def test_a_file_that_was_named_must_be_there_and_be_toml(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert refusal(config=missing) == f"the settings file {missing} cannot be read: No such file or directory"
    assert "is not valid TOML" in refusal(config=written(tmp_path / "bad.toml", "port: 8080"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "is not valid TOML" in refusal(config=binary)


def test_an_unknown_name_is_refused_with_the_nearest_right_one(tmp_path: Path) -> None:
    assert refusal(environ={"VISITSTATS_REDISURL": "x"}) == (
        "VISITSTATS_REDISURL is not a setting; did you mean VISITSTATS_REDIS_URL?"
    )
    file = written(tmp_path / "a.toml", "prot = 80")
    assert refusal(config=file) == f"prot in {file} is not a setting; did you mean port in {file}?"
    assert refusal({"data_dri": "x"}) == "--data-dri is not a setting; did you mean --data-dir?"
    assert refusal(environ={"VISITSTATS_ZZZZ": "1"}) == "VISITSTATS_ZZZZ is not a setting; docs/settings.md lists them"


def test_other_programs_variables_are_not_looked_at() -> None:
    assert Settings.load(environ={"PORT": "x", "PATH": "/bin", "visitstats_port": "y"}).port == 8080


def test_what_kubernetes_says_of_a_service_of_our_name_is_no_setting() -> None:
    """It injects VISITSTATS_PORT=tcp://… into every pod of the namespace; that must not stop the start."""
    environ = {
        "VISITSTATS_SERVICE_HOST": "10.0.0.1",
        "VISITSTATS_SERVICE_PORT": "80",
        "VISITSTATS_SERVICE_PORT_HTTP": "80",
        "VISITSTATS_PORT": "tcp://10.0.0.1:80",
        "VISITSTATS_PORT_80_TCP": "tcp://10.0.0.1:80",
        "VISITSTATS_PORT_80_TCP_ADDR": "10.0.0.1",
        "VISITSTATS_METRICS_PORT": "tcp://10.0.0.2:90",
        "VISITSTATS_METRICS_SERVICE_HOST": "10.0.0.2",
    }
    assert Settings.load(environ=environ) == Settings.load()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "80a", '"80a"; expected a whole number from 0 to 65535'),
        ("PORT", "", '""; expected a whole number from 0 to 65535'),
        ("PORT", "65536", '"65536"; expected a whole number from 0 to 65535'),
        ("PORT", "-1", '"-1"; expected a whole number from 0 to 65535'),
        ("PORT", "٨٠", '"٨٠"; expected a whole number from 0 to 65535'),
        ("WORKERS", "0", '"0"; expected a whole number from 1 to 64'),
        ("JOURNAL_KEEP_HOURS", "25", '"25"; expected a whole number of hours from 1 to 24'),
        ("GATHER_MS", "101", '"101"; expected a whole number of milliseconds from 0 to 100'),
        ("BATCH_MAX_HITS", "1001", '"1001"; expected a whole number of hits from 32 to 1000'),
        ("BATCH_MAX_HITS", "31", '"31"; expected a whole number of hits from 32 to 1000'),
        ("LOG_LEVEL", "loud", '"loud"; expected one of debug, info, warning, error'),
        ("DATA_DIR", "", '""; expected a folder'),
        ("HOST", " ", '" "; expected a text that is not empty'),
        (
            "TRUSTED_PROXIES",
            "10.0.0.1/8",
            '"10.0.0.1/8"; expected networks such as 10.1.0.0/16, and "10.0.0.1/8" is none; did you mean 10.0.0.0/8?',
        ),
        ("TRUSTED_PROXIES", "*", '"*"; expected networks such as 10.1.0.0/16, and "*" is none'),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_and_named(variable: str, value: str, message: str) -> None:
    assert refusal(environ={f"VISITSTATS_{variable}": value}) == f"VISITSTATS_{variable} is {message}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("localhost:6379", "localhost:6379"), ("http://a", "http://…"), ("redis://", "redis://"),
        ("unix://", "unix://"), ("redis://a:port", "redis://…"), ("redis://u:p#ss@a", "redis://…"),
        ("redis+sentinel://a", "redis+sentinel://…"),
    ],
)  # fmt: skip
def test_a_store_address_that_is_none_is_refused_at_once(url: str, shown: str) -> None:
    said = refusal(environ={"VISITSTATS_REDIS_URL": url})
    assert said.startswith(f'VISITSTATS_REDIS_URL is "{shown}"; expected empty')
    assert ("percent-encoded" in said) == ("#" in url)


def test_the_password_of_the_store_may_be_in_a_file(tmp_path: Path) -> None:
    """As compose and Kubernetes mount secrets; editors end a file with a line break."""
    file = written(tmp_path / "secret", "p/#@ss\n")
    settings = Settings.load({"redis_url": "redis://u@h:1/0", "redis_password_file": file})
    assert settings.redis_url == "redis://u:p%2F%23%40ss@h:1/0"
    assert Settings.load(environ=settings.to_environ()) == settings
    assert "p%2F" not in repr(settings)


def test_a_password_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal({"redis_url": "redis://h", "redis_password_file": missing}) == (
        f"redis_password_file {missing} cannot be read: No such file or directory"
    )
    empty = written(tmp_path / "empty", "\n")
    assert refusal({"redis_url": "redis://h", "redis_password_file": empty}) == f"redis_password_file {empty} is empty"
    assert "redis_url is not" in refusal({"redis_password_file": empty})
    file = written(tmp_path / "secret", "x")
    assert "give one of them" in refusal({"redis_url": "redis://u:hush@h", "redis_password_file": file})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('port = "80"', 'is "80"; expected a whole number from 0 to 65535, without quotes around it'),
        ("port = true", 'is "True"; expected a whole number from 0 to 65535'),
        ("port = 80.0", 'is "80.0"; expected a whole number from 0 to 65535'),
        ("host = 1", 'is "1"; expected a text that is not empty'),
        ("trusted_proxies = [1]", 'is "1"; expected a list of networks such as ["127.0.0.0/8", "10.1.0.0/16"]'),
        ("data_dir = []", 'is ""; expected a folder'),
    ],
)
def test_a_wrong_type_in_the_file_is_refused_and_named(tmp_path: Path, line: str, message: str) -> None:
    file = written(tmp_path / "a.toml", line)
    assert refusal(config=file) == f"{line.split()[0]} in {file} {message}"


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert "metrics_port and port are both 8080" in refusal({"metrics_port": 8080})
    assert "at least one batch" in refusal({"queue_max_hits": 10})


def test_trusting_nobody_is_possible_and_doubles_are_dropped() -> None:
    assert Settings.load(environ={"VISITSTATS_TRUSTED_PROXIES": ""}).trusted_proxies == ()
    given = Settings.load({"trusted_proxies": ["10.0.0.1", " 10.0.0.1/32", "2001:DB8::/32"]})
    assert given.trusted_proxies == ("10.0.0.1/32", "2001:db8::/32")


@pytest.mark.parametrize("url", ["redis://u:s3cret@h:1/0", "rediss://:s3cret@h", "redis://h/0?password=s3cret"])
def test_a_password_is_used_but_never_shown(url: str) -> None:
    settings = Settings.load({"redis_url": url})
    assert settings.redis_url == url
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.redis_url_shown


@pytest.mark.parametrize("url", ["htp:/x:s3cret@h", "redis://a:s3cret@h:port", "redis//u:s3cret@h"])
def test_not_even_the_password_of_an_address_that_is_refused(url: str) -> None:
    assert "s3cret" not in refusal({"redis_url": url})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "port": st.integers(0, 65_535).filter(lambda port: port != 9100),
            "workers": st.integers(1, 64),
            "metrics_port": st.just(9100),
            "redis_url": st.sampled_from(["", "redis://u:p%40@h:1/2", "unix:///a%20b/c.sock"]),
            "trusted_proxies": st.lists(st.ip_addresses().map(str), max_size=3),
            "data_dir": st.sampled_from(["a", "/b c", "Thống kê"]),
            "log_level": st.sampled_from(["DEBUG", "error"]),
        },
    )
)
def test_a_worker_process_gets_the_very_same_settings(overrides: dict[str, object]) -> None:
    settings = Settings.load(overrides)
    assert Settings.load(environ=settings.to_environ()) == settings


def test_every_field_is_a_setting_and_every_default_is_allowed() -> None:
    assert list(SETTINGS) == list(Settings.__struct_fields__)
    assert Settings.load({name: setting.default for name, setting in SETTINGS.items()}) == Settings.load()


def test_the_journal_is_never_kept_for_longer_than_what_decides_about_its_hits() -> None:
    """A replay decides again: a presence or a hit id that the store had forgotten would be counted twice."""
    keep = SETTINGS["journal_keep_hours"]
    longest = max(hours for hours in range(1, 100) if _allowed(keep, hours))
    assert longest * HOUR_MS < keys.DECIDING_MS <= counting.SALT_LIFE_MS


def _allowed(setting: Setting, value: object) -> bool:
    try:
        Settings.load({setting.name: value})
    except InvalidSetting:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("proxy_header", "X-Real-IP", "x-real-ip"),
        ("proxy_header", "ANY", "any"),
        ("base_path", "/counter/", "/counter"),
        ("base_path", "/", ""),
        ("socket", "/run/visitstats/s", Path("/run/visitstats/s")),
        ("socket", "", None),
    ],
)
def test_how_a_proxy_finds_us_is_read_in_the_form_that_people_write(name: str, value: str, expected: object) -> None:
    assert getattr(Settings.load({name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("proxy_header", "X Real"), ("proxy_header", ""), ("base_path", "counter"), ("base_path", "/a//b"),
     ("base_path", "/a?b"), ("socket", "/" + "a" * 200), ("metrics_host", "")],
)  # fmt: skip
def test_how_a_proxy_cannot_find_us_is_refused(name: str, value: str) -> None:
    assert f"--{name.replace('_', '-')}" in refusal({name: value})


def test_a_settings_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors of Windows write one."""
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 9\n")
    assert Settings.load(config=file).port == 9

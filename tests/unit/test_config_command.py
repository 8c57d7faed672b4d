"""`visitstats config` tells what the service would start with, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visitstats.cli import application
from visitstats.settings import SETTINGS, InvalidSetting, Settings


def run(*arguments: str) -> str:
    found = CliRunner().invoke(application(), ["config", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, two variables, one of which is stronger than a line of the file."""
    for name in SETTINGS.values():
        monkeypatch.delenv(name.variable, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISITSTATS_WORKERS", "3")
    monkeypatch.setenv("VISITSTATS_REDIS_URL", "redis://reader:secret-word@127.0.0.1:6379/0")
    path = tmp_path / "visitstats.toml"
    path.write_text("workers = 2\nport = 8081\n", encoding="utf-8")
    return path


def test_show_names_the_source_of_each_value_and_no_password(given: Path) -> None:
    found = json.loads(run("show", "--json"))
    assert {name: (row["value"], row["from"]) for name, row in found.items() if name != "redis_url"} == {
        "workers": ("3", "VISITSTATS_WORKERS"),
        "port": ("8081", "port in visitstats.toml"),
    }
    assert found["redis_url"]["from"] == "VISITSTATS_REDIS_URL"
    for text in (run("show"), run("show", "--all"), run("show", "--json", "--all")):
        assert "secret-word" not in text
        assert "8081" in text


def test_all_settings_are_shown_when_asked_for(given: Path) -> None:
    found = json.loads(run("show", "--json", "--all"))
    assert list(found) == list(SETTINGS)
    assert {row["value"] for name, row in found.items() if name == "backup_hour"} == {"2"}
    assert [name for name, row in found.items() if row["from"] != "default"] == ["redis_url", "port", "workers"]


def test_check_counts_what_is_given_and_refuses_what_the_service_would(given: Path) -> None:
    assert (
        run("check")
        == "The settings are good: 2 from the environment, 1 from the file; the others have their defaults.\n"
    )
    given.write_text("wokers = 2\n", encoding="utf-8")
    with pytest.raises(InvalidSetting, match="did you mean workers"):
        run("check")


def test_a_password_file_is_read_and_hidden(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISITSTATS_REDIS_URL", "redis://reader@127.0.0.1:6379/0")
    (tmp_path / "word").write_text("secret-word\n", encoding="utf-8")
    monkeypatch.setenv("VISITSTATS_REDIS_PASSWORD_FILE", str(tmp_path / "word"))
    assert Settings.loaded(None, {"VISITSTATS_PORT": "1"})[1] == {
        "port": "VISITSTATS_PORT",
        "workers": "workers in visitstats.toml",
    }
    assert "secret-word" not in run("show", "--all")

"""What the portal has signed is believed, and nothing else is: of another site, key, title or time, or made up."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.beacon import MAX_SIGNATURE_CHARS, HitBeacon, HitQuery, hit_from_query
from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.keys import MAX_KEY_BYTES
from visitstats.core.signing import Vouch, sign, split_key, vouched
from visitstats.core.sites import Site

SECRET, OTHER = "5" * 64, "6" * 64
NOW = 1_798_000_000
SAID = ("portal", "news:2642", "Sở TT&TT sơ kết – Lào Cai", "Nguyễn Văn An")
EXPIRES = NOW + 86_400
FROZEN = "1798086400.9e7zgdPgSt2s6cQQR0rcRUqVUEm_duvWAkR2a-Lv69g"
PAGE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")


def hit_of(k: str) -> HitBeacon:
    return hit_from_query(HitQuery(u="https://portal.vn/a", k=k))


def check(
    site: str, key: str, title: str, author: str, *, signature: str = FROZEN,
    secrets: tuple[str, ...] = (SECRET,), now: int = NOW,
) -> Vouch:  # fmt: skip
    return vouched(secrets, site, key, title, author, signature, now)[0]


def test_the_form_is_frozen() -> None:
    """Portals make signatures in languages of their own."""
    assert sign(SECRET, *SAID, EXPIRES) == FROZEN


def test_a_signature_vouches_for_what_was_signed_until_it_expires() -> None:
    assert check(*SAID) is Vouch.FACTS
    assert vouched((SECRET,), *SAID, FROZEN, NOW) == (Vouch.FACTS, EXPIRES)
    assert check(*SAID, now=EXPIRES - 1) is Vouch.FACTS
    assert check(*SAID, now=EXPIRES) is Vouch.NOTHING


@pytest.mark.parametrize("place", range(4))
def test_of_another_site_key_title_or_author_it_says_nothing(place: int) -> None:
    assert check(*(text + "x" * (n == place) for n, text in enumerate(SAID))) is Vouch.NOTHING
    assert check(*("" if n == place else text for n, text in enumerate(SAID))) is Vouch.NOTHING


def test_texts_cannot_be_moved_from_one_field_to_another() -> None:
    signature = sign(SECRET, "portal", "k", "a b", "", EXPIRES)
    assert check("portal", "k a", "b", "", signature=signature) is Vouch.NOTHING
    assert check("portal", "k\na b", "", "", signature=signature) is Vouch.NOTHING
    with pytest.raises(ValueError, match="line feed"):
        sign(SECRET, "portal", "k\na", "", "", EXPIRES)


def test_the_key_alone_may_be_signed() -> None:
    signature = sign(SECRET, "portal", "news:2642", "", "", EXPIRES)
    assert check(*SAID, signature=signature) is Vouch.KEY
    assert check("portal", "news:2642", "", "", signature=signature) is Vouch.KEY


def test_secrets_can_be_changed() -> None:
    assert check(*SAID, secrets=(OTHER, SECRET)) is Vouch.FACTS
    assert check(*SAID, secrets=(OTHER,)) is Vouch.NOTHING
    assert check(*SAID, secrets=()) is Vouch.NOTHING


def test_a_later_expiry_is_another_signature() -> None:
    assert check(*SAID, signature=FROZEN.replace("1798086400", "1999999999")) is Vouch.NOTHING


@given(st.text(max_size=80))
def test_what_stands_behind_a_key_is_a_signature_or_a_part_of_the_key(text: str) -> None:
    key, signature = split_key(text)
    assert signature == "" or re.fullmatch(r"[0-9]{1,12}\.[A-Za-z0-9_-]{43}", signature)
    assert signature or key == text
    assert check("portal", key, "", "", signature=signature or f"{EXPIRES}.{'A' * 43}") is Vouch.NOTHING


def test_a_beacon_says_key_and_signature_apart() -> None:
    """The longest key fits with its signature; a longer one is refused as before."""
    beacon = hit_of(k=f"news:2642 sig={FROZEN}")
    assert (beacon.explicit_key, beacon.signature) == ("news:2642", FROZEN)
    longest = hit_of(k=f"{'k' * MAX_KEY_BYTES} sig={FROZEN}")
    assert len(longest.explicit_key) == MAX_KEY_BYTES
    assert hit_of(k="news:2642 sig=1.short").explicit_key == "news:2642 sig=1.short"
    assert len(f" sig={FROZEN}") <= MAX_SIGNATURE_CHARS
    with pytest.raises(HitRejected):
        hit_of(k=f"{'k' * (MAX_KEY_BYTES + 1)} sig={FROZEN}")


def test_a_site_that_believes_signatures_has_a_secret() -> None:
    with pytest.raises(InvalidSite, match="site sign"):
        Site(id="s", hosts=("portal.vn",), signatures="prefer")
    with pytest.raises(InvalidSite, match="32 characters"):
        Site(id="s", hosts=("portal.vn",), signing_secrets=("short",))
    assert Site(id="s", hosts=("portal.vn",), signatures="require", signing_secrets=(SECRET,)).signatures == "require"


# The snippets of the documentation ------------------------------------------------------------------------------------


def snippet(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?visitstats_?sign.*?)```", PAGE, re.DOTALL | re.IGNORECASE)
    return str(found)


ARGUMENTS = [SECRET, *SAID, EXPIRES]
WRITTEN = ", ".join(json.dumps(each, ensure_ascii=False) for each in ARGUMENTS)


def test_the_snippet_for_python() -> None:
    names: dict[str, object] = {}
    exec(snippet("python"), names)  # noqa: S102 - our own documentation
    assert names["visitstats_sign"](*ARGUMENTS) == FROZEN  # type: ignore[operator]


@pytest.mark.parametrize(
    ("program", "command", "code"),
    [
        ("php", ["php", "-r"], f"{snippet('php')} echo visitstats_sign({WRITTEN});"),
        ("node", ["node", "-e"], f"{snippet('javascript')} process.stdout.write(visitstatsSign({WRITTEN}));"),
    ],
)
def test_the_snippets_for_other_languages(program: str, command: list[str], code: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program}: install it to test its snippet")
    done = subprocess.run([*command, code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == FROZEN


def test_the_snippet_for_c_sharp(tmp_path: Path) -> None:
    if not (shutil.which("mcs") and shutil.which("mono")):
        pytest.skip("no Mono: install mono-mcs to test its snippet")
    code = (
        f"class P {{ {snippet('csharp')} static void Main() {{ System.Console.Write(VisitstatsSign({WRITTEN})); }} }}"
    )
    (tmp_path / "p.cs").write_text(code, encoding="utf-8")
    subprocess.run(["mcs", "-out:p.exe", "p.cs"], cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run(["mono", "p.exe"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == FROZEN

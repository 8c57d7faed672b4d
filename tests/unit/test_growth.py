"""What strangers can make a site grow to is what docs/security.md says, and what the doctor adds up."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tests.unit.test_doctor import WELL
from visitstats.core.growth import collections, most_bytes
from visitstats.core.sites import Site
from visitstats.trust.store_checks import check_growth

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
DEFAULT = Site(id="portal", hosts=("portal.vn",))
SMALL = Site(id="commune", hosts=("commune.vn",), max_articles=10_000, max_visitors=50_000)
MIB = 1 << 20


def test_the_documented_limits_are_those_of_the_program() -> None:
    rows = {row[0]: row for row in re.findall(r"^\| (.+?) \|(.*?)\| (\d+) MiB \|", PAGE, re.MULTILINE)}
    for each in collections(DEFAULT):
        _, limit, mib = rows[each.name]
        assert limit.strip().endswith(f"{each.most:,}"), each
        assert int(mib) == round(each.bytes / MIB), each
    assert int(rows["sum"][2]) == round(most_bytes(DEFAULT) / MIB)
    assert f"can be made to grow to {round(most_bytes(SMALL) / MIB / 10) * 10} MiB" in PAGE


def test_the_doctor_adds_up_what_the_sites_can_grow_to() -> None:
    roomy = msgspec.structs.replace(WELL, most_bytes=0, machine_bytes=8 << 30)
    assert check_growth(roomy, [DEFAULT]).status == "ok"
    assert check_growth(msgspec.structs.replace(WELL, most_bytes=1 << 30), [DEFAULT]).status == "warn"
    many = check_growth(roomy, [SMALL] * 1 + [msgspec.structs.replace(DEFAULT, id=f"s{n}") for n in range(9)])
    assert many.status == "warn"
    assert "--max-visitors" in many.advice

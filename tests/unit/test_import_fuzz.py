"""Files of old counters that were cut, mixed up and written over: each comes to a plan that adds up, or to one refusal
that names its place. Never to another error. Some here, many by `make fuzz`, or in the long tests."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.importing import OUTCOMES, SAMPLES, outcome_of
from tests.unit.test_import_samples import options_of

MORE = {
    "joomla.sql": b"CREATE TABLE `jos_vvcounter_logs` (`time` int, `visits` int, `guests` int, `members` int, `bots` int);\n"
    b"INSERT INTO `jos_vvcounter_logs` VALUES (1672506000,9,5,1,3),(1672592400,4,4,0,0);\n"
    b"CREATE TABLE `jos_content` (`id` int, `title` varchar(9), `alias` varchar(9), `catid` int, `hits` int);\n"
    b"INSERT INTO `jos_content` VALUES (7,'A','a',3,12);\n",
    "liferay.sql": b"CREATE TABLE `ViewCountEntry` (`companyId` bigint, `classNameId` bigint, `classPK` bigint, `viewCount` bigint);\n"
    b"INSERT INTO `ViewCountEntry` VALUES (1,2,33,15);\nCREATE TABLE `JournalArticle` (`id_` bigint, `resourcePrimKey` bigint, "
    b"`urlTitle` text, `version` double, `title` text);\nINSERT INTO `JournalArticle` VALUES (1,33,'bai-a',1.0,'A'),(2,33,'bai-a',1.1,'B');",
    "wp.sql": b"CREATE TABLE `wp_posts` (`ID` int, `post_title` text, `post_name` text, `post_date` datetime, `post_type` text);\n"
    b"INSERT INTO `wp_posts` VALUES (5,'A','a','2022-01-02 03:04:05','post');\nCREATE TABLE `wp_postmeta` (`meta_id` int, "
    b"`post_id` int, `meta_key` text, `meta_value` text);\nINSERT INTO `wp_postmeta` VALUES (1,5,'views','88'),(2,5,'x','y');",
    "jetpack.csv": b'"A","12","https://bacha.example.vn/a/"\n"B","7","https://bacha.example.vn/b/"\n',
    "umami.csv": b"website_id,session_id,visit_id,created_at,url_path,event_type\nw,s,v,2025-01-02 03:04:05,/a,1\nw,s,v,2025-01-02 03:05:00,/b,1\n",
    "counterdev.json": b'{"sites":{"1":{"visits":{"all":{"date":{"2024-01-02":3}},"2024":{"date":{"2024-01-02":3}}}}}}',
    "vercount.txt": b'SET pv:site:bacha.example.vn 90\nSET "pv:page:bacha.example.vn:/a" 12\nZADD bsz:page_pv:x 3 y\n',
    "keys.json": b'{"pv:site:bacha.example.vn": 90, "pv:page:bacha.example.vn:/a": "12", "x:y": [["a", 1]]}',
    "hitcount.json": b'[{"model":"hitcount.hitcount","pk":1,"fields":{"hits":9,"content_type":7,"object_pk":"3"}}]',
    "moe.csv": b"name,num\n/a,12\nsite,99\n",
    "SoTruyCap.txt": b"1.524.318\r\n",
    "parts.csv": "Năm;Tháng;Ngày;Lượt truy cập;Lượt xem\n2021;12;31;1.000;5\n;;30;7;\n2022;Tháng 1;;8;9\nCả năm;;;1.015;14\n".encode(),
    "hex.sql": b"INSERT [dbo].[ThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (1, CAST(0x0000AD0A018A2F4F AS DateTime), 120)\nGO\n"
    b"INSERT [dbo].[ThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (2, CAST(0x7C340B00 AS Date), 130)\nGO\n",
    "sharepoint.csv": b'\xef\xbb\xbfListSchema={"a":["b"]}\n"ID","Title","NewsCount"\n"3","A","1.200"\n',
}  # fmt: skip
SAID = {"jetpack.csv": {"first": "2023-01-01", "last": "2023-12-31"}, "SoTruyCap.txt": {"counts": "visits"},
        "sharepoint.csv": {"url": "/t.aspx?id={ID}"}, "hitcount.json": {"url": "/bai/{object_pk}/"}}  # fmt: skip
SEEDS = {name: (SAMPLES / name).read_bytes() for name in sorted(OUTCOMES)} | MORE

STRANGE = [
    b"99999999999999999999999999", b"1" * 5000, b"9007199254740993", b"-1", b"1e400", b"NaN", b"Infinity", b"1.5", b"0x1F", b"\xef\xbc\x91\xef\xbc\x92",
    b"\xd9\xa1\xd9\xa2", b"\xc2\xb2", b"NULL", b"''", b'"', b"\\", b"\0", b"\0" * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n\r\n",
    b";", b",", b"\t", b"(", b")", b"),(", b"/*", b"*/", b"--", b"#", b"#REF!", b"=1+1", b"31/02/2022", b"00/00/0000", b"0000-00-00", b"13/2022",
    b"9999-12-31", b"1", b"0", b"http://[", b"http://bacha.example.vn:99999/", b"//", b"/" * 9000, b"/%zz%00", b"A" * 70_000, b"\xf0\x9f\x92\xa9",
    b"\xed\xa0\x80", b"a\xcc\x80" * 40, b"[" * 3000, b"{" * 3000, b'{"a":' * 3000, b"(" * 3000, b"[dbo].[", b"N'", b"_binary '", b"0x4142",
    b"CREATE TABLE `", b"INSERT INTO ", b"GO\n", b"sep=;\n", b"ListSchema=", b"SET a:b 1\n", b"bsz:site_pv:",
]  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1258", "cp1252", "utf-32", "utf-7")

Change = Callable[[bytes], bytes]


def at(share: float, data: bytes) -> int:
    return int(share * len(data))


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda data: b"\n".join(change(data.split(b"\n")))


def recoded(encoding: str) -> Change:
    return lambda data: data.decode("utf-8", "replace").encode(encoding, "ignore")


def without_column(number: int) -> Change:
    def change(rows: list[bytes]) -> list[bytes]:
        mark = next((each for each in (b";", b",", b"\t") if each in b"".join(rows[:3])), b",")
        return [mark.join(cell for place, cell in enumerate(row.split(mark)) if place != number) for row in rows]

    return lines(change)


SHARE = st.floats(0, 1, exclude_max=True)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    SHARE.map(lambda x: lambda data: data[: at(x, data)]),
    st.builds(lambda x, new: lambda data: data[: at(x, data)] + new + data[at(x, data) :], SHARE, st.sampled_from(STRANGE)),
    st.builds(lambda x, new: lambda data: data[: at(x, data)] + new + data[at(x, data) + 3 :], SHARE, st.sampled_from(STRANGE)),
    st.builds(lambda x, new: lambda data: data[: at(x, data)] + new + data[at(x, data) + len(new) :], SHARE, st.binary(max_size=8)),
    st.builds(lambda old, new: lambda data: data.replace(old, new, 1), st.sampled_from([b"1", b"2", b"5", b"0", b",", b"'", b'"', b"/"]),
              st.sampled_from(STRANGE)),
    st.builds(lambda x, y: lines(lambda rows: [*rows[: at(x, rows)], rows[at(y, rows)], *rows[at(x, rows) :]]), SHARE, SHARE),  # type: ignore[arg-type]
    SHARE.map(lambda x: lines(lambda rows: [*rows[: at(x, rows)], *rows[at(x, rows) + 1 :]])),  # type: ignore[arg-type]
    SHARE.map(lambda x: lines(lambda rows: [*rows[at(x, rows) :], *rows[: at(x, rows)]])),  # type: ignore[arg-type]
    st.integers(0, 6).map(without_column),
    st.sampled_from(ENCODINGS).map(recoded),
    st.just(lambda data: data + data),
    st.just(lambda data: data.replace(b"\n", b"\r\n")),
    st.just(lambda data: data.replace(b"\n", b"\r")),
)  # fmt: skip


def inside(change: Change, which: float) -> Change:
    """Change what is packed, and pack it again."""

    def changed(data: bytes) -> bytes:
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(change(gzip.decompress(data)), 1)
        if not data.startswith(b"PK"):
            return change(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, (name, content) in enumerate(members):
                archive.writestr(name, change(content) if number == int(which * len(members)) else content)
        return made.getvalue()

    return changed


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(st.sampled_from(sorted(SEEDS)))
    data = SEEDS[name]
    for _ in range(draw(st.integers(1, 3))):
        change = draw(CHANGES)
        if draw(st.integers(0, 9)):
            try:
                data = inside(change, draw(SHARE))(data)
            except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error):
                data = change(data)
        else:
            data = change(data)
    return name, data


def check(name: str, data: bytes) -> None:
    right: dict[str, Any] = OUTCOMES.get(name, {})
    said = right.get("options", {})
    preset = (said["preset"],) if "preset" in said else ()
    options = options_of(said) | SAID.get(name, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        found = outcome_of([path], Path(folder), *preset, **options)
    if "refused" in found:
        refused = found["refused"]
        assert refused["why"], found
        assert refused["file"].startswith(name.removesuffix(".gz")) or refused["file"] in ("", name), found
        assert "\n" not in refused["why"] + refused["found"], found
        return
    visits = found["in_file"]["visits"]
    assert visits["read"] == visits["taken"] + visits["left_out"], found["in_file"]
    assert all(n >= 0 for each in found["in_file"].values() for n in each.values()), found["in_file"]


HEX = b"INSERT [dbo].[ThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (1, CAST(0x0000AD0A018A2F4F AS DateTime), 120)\nGO\n"


@given(files())
@example(("hex.sql", HEX.replace(b"ThoiGian", b"Th9oiGian")))
@example(("hex.sql", HEX.replace(b"ThoiGian", b"Thoi\nGian\x1b[2J")))
@example(("hex.sql", HEX.replace(b"[dbo].[ThongKe]", b"[]")))
@example(("nukeviet-rows.csv", SEEDS["nukeviet-rows.csv"].replace(b"17", b"17" * 2500)))
def test_any_file_comes_to_a_plan_or_a_refusal(file: tuple[str, bytes]) -> None:
    """Whatever was done to it; where it was read, what is in the file is what was taken and what was left out."""
    check(*file)


@pytest.mark.long
@pytest.mark.timeout(900)
@given(files())
@settings(max_examples=20_000)
def test_very_many_files_come_to_a_plan_or_a_refusal(file: tuple[str, bytes]) -> None:
    """The same, for as many as the time before a release allows."""
    check(*file)

"""What a beacon may say, and that nothing else gets in."""

import json
import unicodedata

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visitstats.core.beacon import AliveBeacon, HitBeacon, HitQuery, decode_alive, decode_hit, hit_from_query
from visitstats.core.errors import HitRejected

REASONS = {"bad-json", "bad-text", "bad-field", "no-url"}
URL = "https://portal.vn/a"
FULL = {
    "u": "https://portal.vn/vi/tin?id=1",
    "k": "news:2642",
    "c": "https://portal.vn/vi/tin",
    "t": "Sơ kết công tác 6 tháng",
    "r": "https://www.google.com/search?q=secret",
    "v": "k3J9_aZ8-LmN0pQr",
    "h": "hit_0123456789",
    "m": {"author": "Nguyễn Văn A", "category": "Tin tức", "published": "2024-01-02"},
}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from([*FULL, "__proto__", "w", "U"]), JSON_VALUES | st.sampled_from([*FULL.values()])
)


def hit(**fields: object) -> HitBeacon:
    return decode_hit(json.dumps({"u": URL, **fields}, ensure_ascii=False).encode())


def reason(body: bytes) -> str:
    with pytest.raises(HitRejected) as refused:
        decode_hit(body)
    assert refused.value.status == 400
    assert refused.value.detail
    return refused.value.reason


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_full_beacon_is_read_whole_however_it_is_spelled(compact: bool, ascii_only: bool) -> None:
    body = json.dumps(FULL, ensure_ascii=ascii_only, separators=(",", ":") if compact else None).encode()
    assert decode_hit(body) == HitBeacon(
        url="https://portal.vn/vi/tin?id=1",
        explicit_key="news:2642",
        canonical="https://portal.vn/vi/tin",
        referrer=str(FULL["r"]),
        visit_id="k3J9_aZ8-LmN0pQr",
        hit_id="hit_0123456789",
        told=("Sơ kết công tác 6 tháng", "Nguyễn Văn A", "Tin tức", "2024-01-02"),
    )


def test_only_the_address_is_required() -> None:
    empty: dict[str, object] = dict.fromkeys([*FULL][1:])
    assert hit() == hit(**empty) == hit(k="", c="", t="", r="", v="", h="", m={}) == HitBeacon(URL)
    assert reason(b"{}") == reason(b'{"u":null}') == reason(b'{"u":""}') == "no-url"


def test_a_beacon_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        hit().url = "https://evil.example"  # type: ignore[misc]


@pytest.mark.parametrize("body", [b"", b" ", b"null", b"[]", b'["u"]', b'"u"', b"1", b"{", b"{}{}", b"{'u':1}", b"u=x"])
def test_what_is_not_an_object_of_json_is_refused(body: bytes) -> None:
    assert reason(body) == "bad-json"


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"-Infinity", b"1e400", b"9" * 4000, b"01", b"[" * 4000, b"[" * 3000 + b"]" * 3000, b'{"a":1,"a":2}'],
    ids=["nan", "infinity", "1e400", "huge", "octal", "unclosed", "deep", "twice"],
)
def test_what_no_reader_agrees_on_is_refused_even_where_it_would_be_ignored(value: bytes) -> None:
    assert reason(b'{"u":"https://portal.vn/a","x":' + value + b"}") == "bad-json"


@pytest.mark.parametrize(
    "body",
    [
        b'{"u":"https://portal.vn/a","u":"https://portal.vn/b"}',
        b'{"u" :"https://portal.vn/a","u":"https://portal.vn/b"}',
        b'{"u":"https://portal.vn/a","\\u0075":"https://portal.vn/b"}',
        b'{"u":"https://portal.vn/a","m":{},"m":{"author":"x"}}',
        b'{"u":"https://portal.vn/a","m":{"author":"x","author":"y"}}',
        b'{"u":"https://portal.vn/a","t":"say \\"u\\":","t":"x"}',
        b'{"u":"https://portal.vn/a","x":1,"x":2}',
        b'{"u":"https://portal.vn/a","k":null,"k":"x"}',
    ],
)
def test_a_name_given_twice_is_refused(body: bytes) -> None:
    """Two programs on the way could each take another of the two values."""
    assert reason(body) == "bad-json"


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\ud800", b"\\udc00", b"\\ud800\\u0041", b"\\uD83D"],
)
@pytest.mark.parametrize("field", [b"u", b"t", b"unknown"])
def test_bytes_that_are_no_text_are_refused(field: bytes, text: bytes) -> None:
    body = b'{"h":"0123456789","' + field + b'":"' + text + b'"}'
    assert reason(body) in ({"bad-text", "no-url"} if field == b"unknown" else {"bad-text"})
    assert reason(b"\xff" + body) == "bad-text"


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert decode_hit(b'{"u":"https://portal.vn/a","t":"\\ud83d\\ude00"}').title == "\U0001f600"


@pytest.mark.parametrize(
    ("field", "value"),
    [(name, wrong) for name in ("u", "k", "c", "t", "r", "v", "h") for wrong in (1, True, ["x"], {"x": "y"})]
    + [("m", "x"), ("m", ["x"]), ("m", {"author": 1}), ("m", {"published": []})],
)
def test_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    assert reason(json.dumps({"u": URL, field: value}).encode()) == "bad-field"


@pytest.mark.parametrize(
    ("field", "longest"),
    [("u", "x" * 4096), ("c", "ộ" * 4096), ("r", "x" * 4096), ("k", "x" * 512), ("k", "ộ" * 170), ("v", "x" * 64)],
)
def test_addresses_keys_and_ids_have_a_length_and_are_never_cut(field: str, longest: str) -> None:
    hit(**{field: longest})
    assert reason(json.dumps({"u": URL, field: longest + longest[0]}).encode()) == "bad-field"


@pytest.mark.parametrize("name", ["v", "h"])
@pytest.mark.parametrize("value", ["x" * 65, "with space", "12345678\n", "ốốốốốốốố", "\x7f", "\x00"])
def test_an_id_is_visible_ascii_of_bounded_length(name: str, value: str) -> None:
    assert reason(json.dumps({"u": URL, name: value}).encode()) == "bad-field"


def test_unknown_fields_are_ignored() -> None:
    """A stranger cannot set the address, the time or the count of a hit (hostile-inputs row 19)."""
    assert hit(ip="1.2.3.4", ts=0, count=9, uniques=[1], __proto__={"u": "x"}, url="x", n=2**63) == HitBeacon(URL)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("  Tin \t mới\r\n nhất ", "Tin mới nhất"),
        ("a\u200bb\u200dc\ufeffd", "abcd"),
        ("\u202eabc\u202c \u2066x\u2069", "abc x"),
        ("a\u00a0\u2003\u2028b", "a b"),
        ("a\0b\x1b[31mc\x85d", "a b [31mc d"),
        (unicodedata.normalize("NFD", "Điện Biên Phủ"), "Điện Biên Phủ"),
        ("<img onerror=alert(1)>", "<img onerror=alert(1)>"),
        ("\u200b \u200b", ""),
        ("x" * 400, "x" * 300),
        ("x" * 299 + " y", "x" * 299),
    ],
)
def test_a_title_is_one_line_of_visible_text(raw: str, shown: str) -> None:
    assert hit(t=raw).title == shown


def test_author_and_category_are_short_lines() -> None:
    beacon = hit(m={"author": "a\n" * 200, "category": "c" * 200})
    assert beacon.author == ("a " * 60).strip()
    assert beacon.category == "c" * 120


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{{ page.title }}", ""),
        ("{{ page.title }} - Cổng thông tin", ""),
        ("${title}", ""),
        ("<%= Title %>", ""),
        ("[[title]]", ""),
        ("undefined", ""),
        ("[object Object]", ""),
        ("[[Video]] Hội nghị", "[[Video]] Hội nghị"),
        ("Tăng 5 %, {a}, $5, #1", "Tăng 5 %, {a}, $5, #1"),
        ("Undefined", "Undefined"),
    ],
)
def test_a_template_that_was_not_filled_is_no_title_author_or_category(text: str, shown: str) -> None:
    beacon = hit(t=text, m={"author": text, "category": text})
    assert (beacon.title, beacon.author, beacon.category) == (shown, shown, shown)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("2024-01-02", "2024-01-02"),
        ("20240102", "2024-01-02"),
        ("2024-01-02T08:30:00+07:00", "2024-01-02T08:30:00+07:00"),
        ("2024-01-02T01:30:00Z", "2024-01-02T01:30:00+00:00"),
        ("2024-01-02 08:30", "2024-01-02T08:30:00"),
        ("2024-01-02T08:30:00.123", "2024-01-02T08:30:00.123000"),
        ("2024-02-30", ""),
        ("2024-02-30T08:30:00", ""),
        ("02/01/2024", ""),
        ("hôm qua", ""),
        ("\uff12024-01-02", ""),
        ("2024-01-02" * 50, ""),
        ("", ""),
    ],
)
def test_a_time_of_publication_is_iso_8601_or_unknown(raw: str, kept: str) -> None:
    assert hit(m={"published": raw}).published == kept


def test_a_pixel_counts_under_the_same_rules() -> None:
    fields = {name: str(FULL[name]) for name in ("u", "k", "t", "v", "h", "r")}
    assert hit_from_query(HitQuery(**fields)) == hit(**fields)
    for name, bad in {
        "u": "",
        "k": "x" * 513,
        "v": "two words",
        "h": "a b c d e f",
        "t": "\udcff",
        "r": "x" * 4097,
    }.items():
        with pytest.raises(HitRejected) as refused:
            hit_from_query(HitQuery(**{**fields, name: bad}))
        assert refused.value.status == 400
        assert refused.value.reason in REASONS


def test_a_heartbeat_names_its_visit_or_nothing() -> None:
    assert decode_alive(b'{"v":"k3J9_aZ8-LmN0pQr"}') == AliveBeacon("k3J9_aZ8-LmN0pQr")
    assert decode_alive(b"{}") == decode_alive(b'{"v":null,"u":"x"}') == AliveBeacon("")
    for body in (b"", b"[]", b'{"v":1}', b'{"v":"two words"}', b'{"v":"123456789","v":"987654321"}', b'{"v":"\xff"}'):
        with pytest.raises(HitRejected) as refused:
            decode_alive(body)
        assert refused.value.status == 400


def check_any_bytes(body: bytes) -> None:
    for decode in (decode_hit, decode_alive):
        reason, beacon = "", None
        try:
            beacon = decode(body)
        except HitRejected as refused:
            reason = refused.reason
        assert reason in REASONS if beacon is None else reason == ""
        if isinstance(beacon, HitBeacon):
            assert beacon.url
            assert len(beacon.title) <= 300
            assert max(len(beacon.author), len(beacon.category)) <= 120
            for text in (beacon.title, beacon.author, beacon.category, beacon.published, *beacon.told):
                text.encode()
        for text in msgspec.structs.astuple(beacon) if beacon else ():
            assert isinstance(text, (tuple, bool)) or text.isascii() or text.encode()


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"u":' * 1000)
def test_any_bytes_are_a_beacon_or_a_named_refusal(body: bytes) -> None:
    check_any_bytes(body)


@given(
    FIELDS, st.booleans(), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), max_size=3)
)
def test_damaged_json_is_a_beacon_or_a_named_refusal(
    fields: dict[str, object], ascii_only: bool, damages: list[tuple[float, bytes, int]]
) -> None:
    body = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for where, new, gone in damages:
        at = int(where * len(body))
        body = body[:at] + new + body[at + gone :]
    check_any_bytes(body)


@given(st.text(max_size=400))
def test_a_title_never_hides_anything(title: str) -> None:
    shown = hit(t=title.encode("utf-8", "ignore").decode()).title
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Zl", "Zp"}
    assert shown == " ".join(shown.split())
    assert hit(t=shown).title == shown


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["u", "k", "t", "x", "m"]), st.sampled_from(['"https://a.vn"', "null", '"\\""', "{}"])
        )
    )
)
def test_a_name_is_found_to_be_given_twice_whatever_else_is_said(members: list[tuple[str, str]]) -> None:
    """The short way (counting quotation marks) never misses one."""
    body = "{" + ", ".join(f'"{name}" : {value}' for name, value in members) + "}"
    names = [name for name, _ in members]
    try:
        decode_hit(body.encode())
    except HitRejected:
        return
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("text", "driven"), [("true", True), ("false", False), ("null", False)])
def test_a_browser_that_a_program_drives_says_so(text: str, driven: bool) -> None:
    body = f'{{"u": "{URL}", "w": {text}}}'.encode()
    assert decode_hit(body).webdriver is driven
    assert hit_from_query(HitQuery(URL, w=text)).webdriver is driven


@pytest.mark.parametrize("body", [b'"w": 1', b'"w": "true"', b'"w": [true]'])
def test_it_says_so_with_true_or_false(body: bytes) -> None:
    with pytest.raises(HitRejected) as refused:
        decode_hit(b'{"u": "https://a.vn/", ' + body + b"}")
    assert (refused.value.reason, refused.value.status) == ("bad-field", 400)


def test_and_only_once() -> None:
    with pytest.raises(HitRejected, match="twice"):
        decode_hit(b'{"u": "https://a.vn/", "w": false, "w": true}')


def test_a_byte_order_mark_before_a_beacon_is_no_part_of_it() -> None:
    """A portal's own program may send one, and its hits would be refused as no JSON."""
    assert decode_hit(b'\xef\xbb\xbf{"u":"https://a.vn/b"}') == decode_hit(b'{"u":"https://a.vn/b"}')
    assert decode_alive(b'\xef\xbb\xbf{"v":"0123456789abcdef"}') == decode_alive(b'{"v":"0123456789abcdef"}')
    for decode in (decode_hit, decode_alive):
        with pytest.raises(HitRejected):
            decode(b"\xef\xbb\xbf" * 2000 + b"{")

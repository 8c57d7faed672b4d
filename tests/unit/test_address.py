"""Whose address counts: the peer's, or what a trusted proxy says, read from the trusted end and strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.system.networks import Networks, parse
from visitstats.web.beacons.address import MOST_HOPS, ClientAddress, headers_of

PROXIES = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "2001:db8:ffff::/48")
NEAR = "127.0.0.1"
READER = "203.0.113.9"


def client(peer: str, headers: dict[str, str], **options: object) -> str:
    finder = ClientAddress(PROXIES, **options)  # type: ignore[arg-type]
    asked = {name.encode(): text.encode("latin-1") for name, text in headers.items()}
    first, again = finder.of(peer, asked), finder.of(peer, asked)
    assert first == again
    return first[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (READER, READER),
        (f"198.51.100.7, {READER}", READER),
        (f"{READER}, 10.1.2.3, 127.0.0.1", READER),
        (f"198.51.100.7,{READER} ,\t10.0.0.1", READER),
        (f"<script>, {READER}", READER),
        (f"{READER}:4711", READER),
        (f"{READER}:99999, 10.0.0.1", READER),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("2001:DB8:0:0::9", "2001:db8::9"),
        ("::ffff:203.0.113.9", READER),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),  # only proxies of ours: the furthest
        (", ".join(["9.9.9.9"] * 99 + [READER]), READER),
        # Not an address: nothing before it is believed.
        ("<script>", NEAR),
        ("203.0.113.9, unknown", NEAR),
        (f"{READER}, 203.0.113, 10.0.0.1", "10.0.0.1"),
        ("fe80::9%eth0", NEAR),
        ("203.0.113.9/24", NEAR),
        ("203.0.113.9:port", NEAR),
        ("203.0.113.9:", NEAR),
        ("0x7f.1", NEAR),
        ("127.1", NEAR),
        ("2001:db8::9:4711:1:2:3:4:5:6", NEAR),
        ("[203.0.113.9", NEAR),
        ('"203.0.113.9"', NEAR),
        ("", NEAR),
        (",", NEAR),
        ("1" * 5000, NEAR),
    ],
)
def test_x_forwarded_for(value: str, expected: str) -> None:
    """hostile-inputs row 18."""
    assert client(NEAR, {"x-forwarded-for": value}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"for={READER}", READER),
        (f"For={READER};proto=https;by=203.0.113.43", READER),
        (f"proto=http;FOR={READER}", READER),
        (f"for=198.51.100.7, for={READER}", READER),
        (f"for={READER}, for=10.0.0.1;by=127.0.0.1", READER),
        (f'for="{READER}:47011"', READER),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for="[2001:db8:cafe::17]"', "2001:db8:cafe::17"),
        ('for="[2001:db8:cafe::17]:_hidden"', "2001:db8:cafe::17"),
        (f'for={READER};host="portal.example.vn"', READER),
        # A quotation mark that the client left open swallows nothing of what the proxy wrote.
        (f'for="198.51.100.7, for={READER}', READER),
        (f'for=198.51.100.7;x=", for="{READER}:1"', READER),
        # Hidden, unknown, or not the grammar: nothing before it is believed.
        ("for=unknown", NEAR),
        ("for=_SEVKISEK", NEAR),
        ("for=198.51.100.7, for=_hidden", NEAR),
        ("for=198.51.100.7, for=unknown, for=10.0.0.1", "10.0.0.1"),
        ("proto=https", NEAR),
        (f"for={READER};for=198.51.100.7", NEAR),
        (f"for = {READER}", NEAR),
        (f"for={READER};", NEAR),
        (f"{READER}", NEAR),
        ('for="203.0.113.9', NEAR),
        ('for="203.0.113\\.9"', NEAR),
        ("for=[2001:db8::9", NEAR),
    ],
)
def test_forwarded(value: str, expected: str) -> None:
    """RFC 7239."""
    assert client(NEAR, {"forwarded": value}) == expected


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
def test_strangers_are_not_believed(name: str) -> None:
    """Who is not a trusted proxy has the address that it comes from, whatever it says."""
    value = "198.51.100.7" if name == "x-forwarded-for" else "for=198.51.100.7"
    assert client(READER, {name: value}) == READER
    assert client("2001:db8::9", {name: value}) == "2001:db8::9"
    assert client("", {name: value}) == "198.51.100.7"  # a unix socket: nobody but a proxy has it


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-for": "198.51.100.7"}, {"forwarded": "for=198.51.100.7"}])
def test_a_socket_for_both_families_makes_no_other_readers(headers: dict[str, str]) -> None:
    """The same address, and the same network as its neighbours: so that neither limits nor visitors are twice."""
    finder = ClientAddress(PROXIES)
    asked = {name.encode(): text.encode() for name, text in headers.items()}
    plain = finder.of(READER, asked)
    for peer in ("::ffff:203.0.113.9", "::FFFF:203.0.113.9", "::ffff:cb00:7109"):
        assert finder.of(peer, asked) == finder.of(peer, asked) == plain == (READER, plain[1])
    assert finder.of("::ffff:203.0.113.77", asked)[1] == plain[1]
    assert finder.of("::ffff:203.0.114.9", asked)[1] != plain[1]
    assert finder.of("2001:DB8:0::9", asked)[0] == "2001:db8::9"


def test_a_proxy_on_a_socket_for_both_families_is_believed() -> None:
    for number in (0, 1):
        assert client("::ffff:127.0.0.1", {"x-forwarded-for": READER}, hops=number) == READER
    assert client("::ffff:127.0.0.1", {"x-forwarded-for": "unknown"}) == NEAR
    assert client("::ffff:192.0.2.200", {"x-forwarded-for": "unknown"}, hops=1) == "192.0.2.200"


@pytest.mark.parametrize("peer", ["", "fe80::9%eth0", "nonsense"])
def test_a_peer_that_is_no_address_keeps_its_name(peer: str) -> None:
    assert client(peer, {}) == peer
    assert client(peer, {"x-forwarded-for": "unknown"}) == peer


def test_nobody_is_believed_without_proxies() -> None:
    assert ClientAddress(()).of(NEAR, {b"x-forwarded-for": READER.encode()})[0] == NEAR


def test_of_two_headers_the_usual_one_counts_or_the_one_that_is_set() -> None:
    """A proxy passes on the header that it does not write itself: a client may have made it up."""
    both = {"x-forwarded-for": READER, "forwarded": "for=198.51.100.7"}
    assert client(NEAR, both) == READER
    assert client(NEAR, both, header="x-forwarded-for") == READER
    assert client(NEAR, both, header="forwarded") == "198.51.100.7"
    assert client(NEAR, {"forwarded": "for=198.51.100.7"}, header="x-forwarded-for") == NEAR
    assert client(NEAR, {"x-forwarded-for": READER}, header="forwarded") == NEAR


@pytest.mark.parametrize(
    ("hops", "value", "expected"),
    [
        (1, f"198.51.100.7, {READER}", READER),
        (2, f"198.51.100.7, {READER}, 192.0.2.5", READER),
        (2, READER, "192.0.2.200"),  # a shorter way than the one that was set up
        (1, "<script>", "192.0.2.200"),
        (2, f"{READER}, <script>", "192.0.2.200"),
        (3, f"{READER}, 10.0.0.1, 10.0.0.2", READER),
    ],
)
def test_so_many_proxies_in_front(hops: int, value: str, expected: str) -> None:
    """With `proxy_hops` the place in the list decides, and no network is looked at."""
    assert client("192.0.2.200", {"x-forwarded-for": value}, hops=hops) == expected
    listed = ", ".join(f"for={each.strip()}" for each in value.split(","))
    assert client("192.0.2.200", {"forwarded": listed}, hops=hops) == expected


def test_several_lines_are_one_list() -> None:
    """RFC 9110, 5.3; some proxies add a line of their own."""
    lines = [(b"host", b"x"), (b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-for", b"203.0.113.9, 10.0.0.1")]
    assert headers_of(lines)[b"x-forwarded-for"] == b"198.51.100.7,203.0.113.9, 10.0.0.1"
    lines = [(b"forwarded", b"for=203.0.113.9"), (b"forwarded", b"for=10.0.0.1"), (b"dnt", b"0"), (b"dnt", b"1")]
    found = headers_of(lines)
    assert found[b"dnt"] == b"1"
    assert ClientAddress(PROXIES).of(NEAR, found)[0] == READER
    assert headers_of([(b"a", b"1"), (b"b", b"2")]) == {b"a": b"1", b"b": b"2"}


def test_a_trusted_proxy_may_have_any_number_of_connections() -> None:
    """It speaks for many readers. With proxy_hops every peer is a proxy; this machine alone is not one by itself."""
    finder = ClientAddress(["10.0.0.0/8"])
    assert [finder.is_proxy(peer) for peer in ("10.1.2.3", "::ffff:10.1.2.3", "", "127.0.0.1", READER)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert ClientAddress([], hops=1).is_proxy(READER)


@pytest.mark.parametrize("address", [NEAR, "127.9.9.9", "::1", "10.1.2.3", "2001:db8:ffff::5", ""])
def test_this_machine_and_the_proxies_are_near(address: str) -> None:
    assert ClientAddress(PROXIES).near(address)


@pytest.mark.parametrize("address", [READER, "11.0.0.1", "2001:db8::9", "nonsense"])
def test_readers_are_not(address: str) -> None:
    assert not ClientAddress(PROXIES).near(address)


@given(st.sampled_from(["x-forwarded-for", "forwarded"]), st.text(st.characters(max_codepoint=255), max_size=200))
def test_whatever_comes_an_address_is_found(name: str, value: str) -> None:
    found = client(NEAR, {name: value})
    assert found == NEAR or parse(found) is not None


@given(st.text(st.characters(max_codepoint=255), max_size=100))
def test_nothing_that_a_client_writes_changes_what_the_proxy_wrote_behind_it(claim: str) -> None:
    assert client(NEAR, {"x-forwarded-for": f"{claim}, {READER}"}) == READER
    assert client(NEAR, {"forwarded": f"{claim}, for={READER}"}) == READER
    assert client(NEAR, {"forwarded": f'{claim}, for="[2001:db8::9]:80"'}) == "2001:db8::9"


def test_more_hops_than_there_are_ways_are_not_read() -> None:
    value = ", ".join(["198.51.100.7"] + ["10.0.0.1"] * MOST_HOPS)
    assert client(NEAR, {"x-forwarded-for": value}) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.1.2.3/16", "x", "10.0.0.0/33", "::/129"])
def test_a_network_is_written_as_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Networks([text])


def test_a_set_of_networks_holds_what_is_in_one_of_them() -> None:
    found = Networks(["10.20.0.0/16", "2001:db8::/32", "192.0.2.1"])
    assert parse("10.20.255.1") in found
    assert parse("::ffff:10.20.1.1") in found
    assert parse("2001:db8:ffff::1") in found
    assert parse("192.0.2.1") in found
    assert parse("10.21.0.1") not in found
    assert parse("192.0.2.2") not in found
    assert parse("no address") not in found
    assert parse("10.20.0.1") not in Networks(())


@pytest.mark.parametrize("name", ["x-real-ip", "cf-connecting-ip", "true-client-ip"])
def test_any_header_may_be_the_one_that_the_proxy_writes(name: str) -> None:
    """Then no other is looked at: a reader may have made it up."""
    found = ClientAddress(PROXIES, header=name)
    headers = {name.encode(): READER.encode(), b"x-forwarded-for": b"198.51.100.1", b"forwarded": b"for=198.51.100.1"}
    assert found.of(NEAR, headers)[0] == READER
    assert found.of("198.51.100.7", headers)[0] == "198.51.100.7", "not a proxy's"
    assert found.of(NEAR, {b"x-forwarded-for": b"198.51.100.1"})[0] == NEAR

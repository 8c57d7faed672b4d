"""The store's address: what is allowed, and that no password in it is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.storeaddress import StoreAddress, has_password, parse_address, shown, with_password


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0", "redis://h", "redis://:p%40@h:1", "rediss://u:p@h/3?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock?db=1", "unix://u:p@/run/a@b.sock", "redis://[::1]:6379/1",
    ],
)  # fmt: skip
def test_an_address_of_one_server_is_handed_on_as_it_is(url: str) -> None:
    assert parse_address(url) == StoreAddress(url)


def test_sentinels_their_service_and_what_they_are_told_are_taken_from_the_address() -> None:
    """The store's own user, options and database stay; what is Sentinel's goes to Sentinel alone."""
    found = parse_address(
        "rediss+sentinel://u:p%2F@a.example:1,b,[::1]:3/my%20portal/2?ssl_ca_certs=/ca.pem&sentinel_username=s"
        "&sentinel_password=x%26y"
    )
    assert found.sentinels == (("a.example", 1), ("b", 26379), ("::1", 3))
    assert (found.service, found.sentinel_username, found.sentinel_password) == ("my portal", "s", "x&y")
    assert found.url == "rediss://u:p%2F@a.example:1/2?ssl_ca_certs=%2Fca.pem"


@pytest.mark.parametrize(
    "url",
    [
        "h:6379", "redis:h", "http://h", "redis://", "redis://h:port", "redis://h:70000", "redis://a,b", "unix://",
        "unix://h/s", "redis://h/name", "redis://h/0/1", "redis+sentinel://h", "redis+sentinel://h/",
        "redis+sentinel://h,/s", "redis+sentinel://h/s/x", "redis+sentinel://h/s/1/2", "redis+sentinel:///s",
    ],
)  # fmt: skip
def test_what_would_lead_elsewhere_is_refused(url: str) -> None:
    """redis-py reads a name of a database as 0, for one."""
    with pytest.raises(ValueError, match=r"."):
        parse_address(url)


@given(
    st.sampled_from(("redis", "rediss", "redis+sentinel")),
    st.text("s3cret#/@:?%&,[] ", min_size=1).filter(lambda text: any(each in text for each in "#/@")),
)
def test_a_password_that_was_not_encoded_is_refused_or_used_whole_but_never_shown(scheme: str, rest: str) -> None:
    """Half a password in a log is a password that is given away."""
    url = f"{scheme}://user:hush{rest}@h:1/0"
    said = shown(url)
    try:
        parse_address(url)
    except ValueError as error:
        said += str(error)
    assert "hush" not in said


@given(st.text(min_size=1))
def test_a_password_from_a_file_is_put_in_whole(password: str) -> None:
    for url in ("redis://u@h:1/0", "redis://h", "unix:///s", "redis+sentinel://u@a,b/s"):
        full = with_password(url, password)
        parse_address(full)
        assert has_password(full)
        assert not has_password(url)
        with pytest.raises(ValueError, match="already"):
            with_password(full, password)


def test_sentinels_password_is_hidden_too() -> None:
    url = "redis+sentinel://u:hush@a:1,b:2/s?sentinel_password=hush&sentinel_username=me"
    assert shown(url) == "redis+sentinel://u:***@a:1,b:2/s?sentinel_password=***&sentinel_username=me"

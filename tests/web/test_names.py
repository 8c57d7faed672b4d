"""What an article is called, through HTTP: a defacer against real readers, and articles that the portal has signed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.client import HOST, Answer, Visitor, crowd
from tests.web.inprocess import Running
from visitstats.core.entries import Entry
from visitstats.core.keys import article_id
from visitstats.core.signing import sign

SECRET = "5" * 64
READERS = [replace(each, address=f"198.51.{n}.7") for n, each in enumerate(crowd(12, "names"))]
MALLORY = replace(READERS[0], address="203.0.113.66", visit_id="mallory-0")
REAL = {"author": "Nguyễn Văn An", "category": "Tin tức", "published": "2040-05-10"}
FALSE = {"author": "Mallory", "category": "Ads", "published": "1999-01-01"}


async def opens(
    app: Running, who: Visitor, title: str, meta: dict[str, str], key: str = "", page: str = "/a"
) -> Answer:
    body: dict[str, Any] = {"u": f"https://{HOST}{page}", "v": who.visit_id, "t": title, "m": meta}
    sent = {"x-forwarded-for": who.address, "user-agent": who.agent, "origin": f"https://{HOST}"}
    return await app.connection.request("POST", "/v1/sites/t1/hit", body | ({"k": key} if key else {}), sent)


async def entry(app: Running, key: str = "/a") -> Entry:
    assert app.app.worker is not None
    [found] = await app.app.worker.reads.entries("t1", [article_id(key)])
    return found


async def test_a_defacer_against_the_readers_of_an_article(app: Running) -> None:
    """Every second page load is his, from addresses of his network and with ever new words; the readers win."""
    await app.put_site(views="every-load")
    for n in range(60):
        who = replace(MALLORY, address=f"203.0.113.{n + 1}", visit_id=f"mallory-{n}")
        await opens(app, who, f"Hacked {n % 3}", FALSE, page=f"/a?utm_source={n}")
        await opens(app, READERS[n % 12], "Sở thông tin", REAL)
        app.clock.advance(60)
    found = await entry(app)
    assert (found.title, found.author, found.category, found.published) == ("Sở thông tin", *REAL.values())
    assert {found.standing(fact) for fact in ("title", "author", "category", "published")} == {"a"}
    assert await app.connection.views("t1", ["/a"]) == {"/a": 120}


async def test_a_wrong_date_is_right_after_honest_readers(app: Running) -> None:
    await opens(app, MALLORY, "Hacked", FALSE)
    for reader in READERS[:5]:
        await opens(app, reader, "Sở thông tin", REAL)
    assert ((await entry(app)).title, (await entry(app)).published) == ("Sở thông tin", "2040-05-10")


async def test_a_beacon_that_is_not_counted_names_nothing(app: Running) -> None:
    """One of a robot, of a foreign page, of an excluded network."""
    await app.put_site(excluded_networks=["203.0.113.0/24"])
    assert (await opens(app, MALLORY, "Hacked", FALSE)).ignored == "excluded"
    robot = replace(READERS[1], agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    assert (await opens(app, robot, "Hacked", FALSE)).ignored == "bot"
    await opens(app, READERS[0], "Sở thông tin", REAL)
    assert (await entry(app)).title == "Sở thông tin"


async def test_readers_who_agree_cost_the_store_no_more_words(app: Running) -> None:
    """Once an article is agreed on, what its readers say does not travel any more."""
    for _ in range(12):
        for reader in READERS[:4]:
            await opens(app, reader, "Sở thông tin", REAL)
        app.clock.advance(60)
    assert app.app.worker is not None
    known = app.app.worker.known
    told = ("Sở thông tin", *REAL.values())
    assert not any(known.matters("t1", article_id("/a"), told, network, app.clock.ms) for network in range(100))
    assert known.matters("t1", article_id("/a"), ("Hacked", *FALSE.values()), 7, app.clock.ms)


async def test_an_editor_sees_what_others_say(app: Running) -> None:
    """Those of most networks first; what an article is called now beside it. Not for strangers."""
    for _ in range(12):
        for reader in READERS[:4]:
            await opens(app, reader, "Sở thông tin", REAL)
        app.clock.advance(60)
    for n in range(3):
        await opens(app, replace(READERS[5 + n], visit_id=f"new-{n}"), "Sở mới", REAL)
    await opens(app, MALLORY, "Hacked", FALSE)
    path = "/v1/admin/sites/t1/claims"
    assert (await app.connection.request("GET", path)).status == 401
    answer = await app.connection.request("GET", path, headers={"authorization": await app.token("viewer", "t1")})
    found = [(each["fact"], each["claimed"], each["networks"]) for each in answer.json["claims"]]
    assert found[0] == ("title", "Sở mới", 3)
    assert set(found[1:]) == {("title", "Hacked", 1), *((fact, value, 1) for fact, value in FALSE.items())}
    assert {(each["key"], each["standing"], each["day"]) for each in answer.json["claims"]} == {
        ("/a", "agreed", "2040-05-16")
    }
    assert answer.json["claims"][0]["says"] == "Sở thông tin"


# Signed ---------------------------------------------------------------------------------------------------------------


def signed(app: Running, key: str, title: str, author: str, *, secret: str = SECRET, seconds: int = 3600) -> str:
    return f"{key} sig={sign(secret, 't1', key, title, author, app.clock.ms // 1000 + seconds)}"


async def test_what_the_portal_has_signed_is_believed_at_once(app: Running) -> None:
    """And then gives way to nobody: not to a signature of something else, an old one, or one of another secret. What
    was not signed, as the category, is weighed as ever."""
    await app.put_site(signatures="prefer", signing_secrets=[SECRET])
    for n, reader in enumerate(READERS[:5]):
        await opens(app, reader, f"Wrong {n % 2}", FALSE, "news:1")
    key = signed(app, "news:1", "Sở thông tin", "Nguyễn Văn An")
    answer = await opens(app, READERS[6], "Sở thông tin", REAL, key)
    assert (answer.json["key"], answer.json["views"]) == ("news:1", 6)
    found = await entry(app, "news:1")
    assert (found.title, found.standing("title"), found.author, found.standing("author")) == (
        "Sở thông tin", "s", "Nguyễn Văn An", "s",
    )  # fmt: skip
    assert (found.category, found.standing("category")) == ("Ads", "p")
    for forged in (
        key,  # with another title
        signed(app, "news:1", "Hacked", "Mallory", secret="6" * 64),
        signed(app, "news:1", "Hacked", "Mallory", seconds=-1),
    ):
        await opens(app, MALLORY, "Hacked", FALSE, forged)
    assert (await entry(app, "news:1")).title == "Sở thông tin"


async def test_without_a_signature_a_page_counts_for_the_site_alone(app: Running) -> None:
    """With `require`: nobody makes an article of the portal's but the portal."""
    await app.put_site(signatures="require", signing_secrets=["6" * 64, SECRET])
    title, author = "Sở thông tin", "Nguyễn Văn An"
    for n, (key, expected) in enumerate(
        [
            ("", "(other)"),
            ("news:1", "(other)"),
            (signed(app, "news:1", title, author), "news:1"),
            (signed(app, "news:2", "", ""), "news:2"),
            (signed(app, "news:3", title, author, seconds=-1), "(other)"),
            (signed(app, "news:4", title, author, secret="7" * 64), "(other)"),
        ]
    ):
        answer = await opens(app, READERS[n], title, REAL, key)
        assert (answer.json["key"], answer.json["today"]) == (expected, n + 1)
    assert (await entry(app, "news:2")).standing("title") == "p", "its key alone was signed"
    app.clock.advance(3601)
    old = signed(app, "news:1", title, author, seconds=-1)
    assert (await opens(app, READERS[8], title, REAL, old)).json["key"] == "(other)"

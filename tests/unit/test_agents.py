"""Bots never enter the box, people always do."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.agents import BOT_WORDS, MAX_AGENT_CHARS, AgentRules, is_prefetch
from visitstats.web.agents_data import load_crawler_patterns

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 12; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"


@pytest.fixture(scope="module")
def rules() -> AgentRules:
    return AgentRules(load_crawler_patterns())


@pytest.mark.parametrize(
    "agent",
    [
        CHROME,
        CHROME + " Edg/129.0.0.0",
        CHROME + " OPR/114.0.0.0",
        CHROME.replace("Chrome/", "coc_coc_browser/126.0.0 Chrome/"),
        ANDROID.format("SM-A525F") + " Zalo android/12100625 ZaloTheme/light ZaloLanguage/vi",
        ANDROID.format("2201117TG") + " [FB_IAB/FB4A;FBAV/440.0.0.30.107;]",
        ANDROID.format("CUBOT NOTE 20"),
        ANDROID.format("CUBOT_X18_Plus"),
        ANDROID.format("VOG-L29") + " HuaweiBrowser/12.0",
        ANDROID.format("SM-G991B").replace("Chrome/", "SamsungBrowser/25.0 Chrome/"),
        IPHONE + " Zalo iOS/470 ZaloTheme/light ZaloLanguage/vn",
        IPHONE + " [FBAN/FBIOS;FBAV/442.0.0;FBBV/540000000;FBDV/iPhone14,5;FBLC/vi_VN;FBOP/5]",
        IPHONE + " Version/17.3 Safari/604.1",
        IPHONE + " GSA/300.0.598994205 Safari/604.1",
        IPHONE + " Instagram 320.0.0.0",
        IPHONE + " Safari/604.1 Viber/20.4",
        ANDROID.format("SM-J730G") + " BytedanceWebview/d8a21c6 musical_ly_2022602030 trill_260203",
        ANDROID.format("Redmi Note 9") + " [FB_IAB/Orca-Android;FBAV/432.0.0.29.86;]",
        ANDROID.format("Redmi Note 9").replace("Chrome/", "Version/4.0 Chrome/") + " XiaoMi/MiuiBrowser/14.7.0-gn",
        "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80 (S60; SymbOS; Opera Mobi/23.348; U; en) Presto/2.5.25 Version/10.54",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0",
        "Mozilla/5.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727)",
        "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/2.2 TV",
        "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80/191.273; U; vi) Presto/2.12.423 Version/12.16",
        IPHONE + " Viber/21.2",
        # The names of phones, and a build that crawler-user-agents 1.67 takes for the bot "008".
        ANDROID.format("CPH2557 Build/AP3A.240617.008; wv") + " trill_420505 BytedanceWebview/d8a21c6",
        ANDROID.format("CPH2581 Build/AP3A.240617.008; "),
        "Mozilla/5.0 (Linux; U; Android 15; en-us; PKC110 Build/AP3A.240617.008) AppleWebKit/537.36 (KHTML) "
        "Version/4.0 Chrome/115.0.5790.168 Mobile Safari/537.36 HeyTapBrowser/40.9.0.1",
        "Mozilla/5.0 (Linux; U; Android 4.3; en-us; HTC_Butterfly Build/JSS15J) AppleWebKit/534.30 Mobile Safari",
        "Mozilla/5.0 (Linux; U; Android 2.3;en-us; ViewSonic-ViewPad7e build/ERE27) AppleWebKit/533.1 Safari/533.1",
        "Mozilla/5.0 (Linux; arm_64; Android 10; Fever_Plus) AppleWebKit/537.36 Chrome/120.0.6099.533 YaSearchBrowser",
        ANDROID.format("Cherry Sonic "),
        ANDROID.format("M bot 54"),
        ANDROID.format("XBot Junior"),
        ANDROID.format("Spider 8"),
        ANDROID.format("Expanse"),
        ANDROID.format("MI 8") + " AWP/2.0 SogouMSE,SogouMobileBrowser/5.28.7",
        ANDROID.format("K") + " (Ecosia android@143.0.0.0)",
        "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1; Embedded Web Browser from: http://bsalsa.com/; FDM)",
    ],
)
def test_people_are_counted(rules: AgentRules, agent: str) -> None:
    assert rules.classify(agent) == ""


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)",
        "Mozilla/5.0 (compatible; coccocbot-image/1.0)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        IPHONE + " [FBAN/FBIOS] facebookexternalhit/1.1",
        "Mozilla/5.0 (compatible; ZaloBot/1.0)",
        "ZaloShare/1.0",
        "ZALOSHAREBOT",
        "Mozilla/5.0 (compatible; SomeNewBot/0.1; contact@example.vn)",
        "Mozilla/5.0 (compatible; new-thing/1.0; +https://example.vn/why)",
        CHROME.replace("Chrome/", "HeadlessChrome/"),
        CHROME + " Chrome-Lighthouse",
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "curl/8.5.0",
        "Wget/1.21.4",
        "python-requests/2.32.3",
        "Python-urllib/3.11",
        "python-httpx/0.28.1",
        "Python/3.11 aiohttp/3.10.5",
        "Go-http-client/1.1",
        "okhttp/4.12.0",
        "Java/17.0.2",
        "Dart/3.5 (dart:io)",
        "node",
        "PostmanRuntime/7.42.0",
        "ApacheBench/2.3",
        "ELB-HealthChecker/2.0",
        "kube-probe/1.30",
        "GoogleHC/1.0",
        "VNPT-Monitor/1.0",
        "Dalvik/2.1.0 (Linux; U; Android 10; SM-A515F)",
        "BaoMoi/2210 CFNetwork/1408.0.4 Darwin/22.5.0",
        "Viber",
        "Viber/20.4.0",
        "Mozilla/5.0 (compatible; zalobot/1.0; +https://zalo.me)",
        "facebookexternalhit/1.1 FBAN/FBIOS",
        CHROME.replace("Chrome/", "coc_coc_browser/126 HeadlessChrome/"),
        "SkypeUriPreview Preview/0.5",
        "TelegramBot (like TwitterBot)",
        "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)",
        "WordPress/6.4; https://portal.vn",
        ANDROID.format("NewsBot/1.0"),
        ANDROID.format("Pixel 2 Build/OPD3.170816.012; DuplexWeb-Google/1.0; +https://example.com"),
        ANDROID.format("Nexus 5X Build/MMB29P") + " (compatible; Google-AMPHTML)",
        ANDROID.format("Nexus 5X Build/MMB29P") + " (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 (KHTML, like Gecko; Google Search Console) Chrome/41 Safari",
        "Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)",
        "Mozilla/5.0 (compatible; Abonti/0.91 - http://www.abonti.com)",
        "Mozilla/5.0 (compatible; www.monitor.us - free monitoring service)",
        "Amazon-Route53-Health-Check-Service (ref b0eb04d5)",
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; vi-VN) WindowsPowerShell/5.1.19041.1682",
        "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)",
        "Microsoft Office Excel 2014",
        "RestSharp/106.11.7.0",
        "Symfony HttpClient/Curl",
        "libcurl/7.81.0",
        "Go 1.1 package http",
        "git/2.39.2",
        "Debian APT-HTTP/1.3 (2.2.4)",
        "Snapchat URL Preview Service; bot",
        "Mozilla/5.0 (compatible; Nuclei)",
        "gobuster/3.6",
    ],
)
def test_programs_are_not(rules: AgentRules, agent: str) -> None:
    assert rules.classify(agent) == "bot"


@pytest.mark.parametrize("agent", ["", " ", "\t\n", "-", " " * 600 + "x"])
def test_an_agent_that_says_nothing_is_refused(rules: AgentRules, agent: str) -> None:
    assert rules.classify(agent) == "empty-agent"


def test_every_agent_that_the_package_knows_is_a_bot(rules: AgentRules) -> None:
    """Also proves that patterns are taken apart and put together without loss."""
    spec = find_spec("crawleruseragents")
    assert spec is not None
    assert spec.origin is not None
    crawlers = json.loads(Path(spec.origin).with_name("crawler-user-agents.json").read_text("utf-8"))
    known = [agent for crawler in crawlers for agent in crawler["instances"] if agent.strip()]
    missed = [agent for agent in known if rules.classify(agent) != "bot"]
    assert len(known) > 1000
    # The only one that it knows by the build of a phone: thousands of people have it.
    assert [agent for agent in missed if "Build/AP3A.240617.008; wv" not in agent] == []
    assert len(missed) <= 1


def test_every_pattern_of_the_package_is_linear_and_used(rules: AgentRules) -> None:
    assert rules.skipped == ()


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        "a*a*b",
        ".*a.*b",
        r"(\w+\s?)*$",
        "a{1,30}b",
        "a?a?aa",
        "(a|)(a|)aa",
        "(?=a)",
        r"(a)\1",
        "(",
        "a)",
        "[a",
        "*",
        "",
        "x" * 201,
    ],
)
def test_a_pattern_that_could_hang_a_worker_is_not_used(pattern: str) -> None:
    rules = AgentRules(["good", pattern])
    assert rules.skipped == (pattern,)
    assert rules.classify("a" * 100_000) == ""
    assert rules.classify("so good") == "bot"


def test_only_the_first_512_characters_are_looked_at(rules: AgentRules) -> None:
    for filler in ("Spider", "Current", "ContextualBo ", "\x1b[31m", "a", "FBAN", "\u0301"):
        agent = (filler * MAX_AGENT_CHARS)[:MAX_AGENT_CHARS]
        assert rules.classify(agent + "x" * 100_000) == rules.classify(agent)
    assert rules.classify("a" * MAX_AGENT_CHARS + " Googlebot/2.1") == ""


@given(st.lists(st.text("ab.(/", min_size=1, max_size=4), max_size=8), st.text("ab.(/-", min_size=1, max_size=12))
def test_plain_patterns_are_found_wherever_they_stand(words: list[str], agent: str) -> None:
    rules = AgentRules(word.replace("(", r"\(").replace(".", r"\.").replace("/", r"\/") for word in words)
    expected = any(word in agent for word in words)
    if agent != "-" and not agent.startswith("ab"):
        assert (rules.classify(agent) == "bot") == expected


@given(st.text())
def test_any_text_has_a_verdict(agent: str) -> None:
    assert AgentRules(["x"]).classify(agent) in {"", "bot", "empty-agent"}


def test_our_words_are_lower_case_and_found_in_any_case() -> None:
    rules = AgentRules()
    for word in BOT_WORDS:
        assert word == word.lower()
        assert rules.classify("Mozilla/5.0 " + word.upper()) == "bot"


@pytest.mark.parametrize(
    "headers",
    [
        {b"sec-purpose": b"prefetch"},
        {b"sec-purpose": b"prefetch;prerender"},
        {b"purpose": b"prefetch"},
        {b"x-purpose": b"preview"},
        {b"x-moz": b"Prefetch"},
        {b"purpose": b"", b"x-moz": b"prefetch"},
    ],
)
def test_a_page_fetched_ahead_is_not_read(headers: dict[bytes, bytes]) -> None:
    assert is_prefetch(headers)


@pytest.mark.parametrize(
    "headers", [{}, {b"purpose": b""}, {b"sec-fetch-mode": b"prefetch"}, {b"sec-purpose": b"other"}]
)
def test_other_requests_are(headers: dict[bytes, bytes]) -> None:
    assert not is_prefetch(headers)


@pytest.mark.parametrize(
    ("agent", "searches"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", True),
        ("Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)", True),
        ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", True),
        ("Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", True),
        ("DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)", True),
        (f"{CHROME} (Applebot/0.1; +http://www.apple.com/go/applebot)", True),
        ("facebookexternalhit/1.1", False),
        ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", False),
        ("curl/8.5.0", False),
        ("x" * MAX_AGENT_CHARS + "Googlebot", False),
    ],
)
def test_bots_of_search_engines_are_known_among_the_bots(rules: AgentRules, agent: str, searches: bool) -> None:
    """They are bots like the others, and told besides ("Máy chủ tìm kiếm")."""
    assert rules.is_search_engine(agent) is searches
    assert rules.classify(agent) == "bot" or len(agent) > MAX_AGENT_CHARS

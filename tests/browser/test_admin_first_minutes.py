"""Five past midnight on a Monday that is the first of a month: day, week and month have only just begun, and whoever
looks is told what can be compared and what not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.admin_stand import SITE, Stand, dotted, go, looking, opened, sign_in, standing
from tests.browser.admin_table import PAGES
from visitstats.core.periods import Calendar
from visitstats.system.clock import wall_clock

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]
CALENDAR = Calendar(SITE.timezone)
ODD = re.compile(r"NaN|Infinity|undefined|null|\{\w+\}|Invalid", re.IGNORECASE)


def the_monday() -> date:
    """The next Monday that is the first of a month."""
    day = date.fromisoformat(CALENDAR.date_at(wall_clock())) + timedelta(days=1)
    while day.day != 1 or day.weekday():
        day += timedelta(days=1)
    return day


MONDAY = the_monday()
NOW_MS = CALENDAR.day_named(MONDAY.isoformat()).start_ms + 5 * 60_000


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("admin"), NOW_MS) as found:
        yield found


def test_nothing_is_compared_with_what_has_not_begun(browser: Browser, stand: Stand) -> None:
    """Each page has words for it, and no percent of a base that is too small; the month that ended can be closed."""
    troubles = list[str]()
    with looking(browser, timezone_id="America/Los_Angeles") as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["admin"])
        for listed in PAGES[1:]:
            period = "month" if listed.name == "reports" else "week"
            route = re.sub(r"period=[\w-]+", f"period={period}", listed.route)
            if listed.name in ("articles", "reports"):
                page.evaluate("route => { location.hash = '#/' + route; }", route)
                page.wait_for_selector(".answer:not(:empty)" if listed.name == "articles" else ".report h2")
            else:
                go(page, listed)
            text = page.inner_text("main")
            assert not ODD.search(text), (listed.name, ODD.search(text))
        check_overview(page, stand)
        check_report(page, stand)
        close_last_month(page, stand)
    assert troubles == []


def check_overview(page: Page, stand: Stand) -> None:
    page.evaluate(f"location.hash = '#/{SITE.id}'")
    page.wait_for_selector(".figures")
    now = stand.api(f"admin/sites/{SITE.id}/now")
    today = now["numbers"]["today"]
    assert today == now["numbers"]["week"] == now["numbers"]["month"]
    cells = page.locator(".figures > div").all_inner_texts()
    for name, cell in zip(("today", "week", "month"), cells[1:4], strict=True):
        before = now["before"][name]
        assert dotted(today) in cell
        if before["visits"] is None:
            assert "chưa có kỳ trước để so" in cell, name
        elif before["visits"] < 20:
            assert "%" not in cell, name
    # The first hour runs: it has no readers yet, and is not one that is still to come.
    readout = page.locator(".plot output").first
    expect(readout).to_contain_text("00:00–00:59")
    expect(readout).to_contain_text("đến 00:05")


def check_report(page: Page, stand: Stand) -> None:
    page.evaluate(f"location.hash = '#/{SITE.id}/reports?period=month'")
    expect(page.locator(".report h2")).to_contain_text(f"{MONDAY.month}/{MONDAY.year}")
    found = stand.api(f"admin/sites/{SITE.id}/report?period=month")
    assert (found["whole"], found["compared"]) == (None, None)
    expect(page.locator(".report")).to_contain_text("chưa so được với kỳ trước")
    assert "%" not in page.inner_text(".report table >> nth=0")


def close_last_month(page: Page, stand: Stand) -> None:
    last = MONDAY - timedelta(days=1)
    page.evaluate(f"location.hash = '#/{SITE.id}/corrections?part=close&period={last:%Y-%m}'")
    part = page.locator("section", has_text="Chốt số liệu tháng nào?").last
    part.get_by_role("button", name="Chốt kỳ").click()
    expect(part.get_by_role("status")).to_contain_text("Đã lưu lúc")
    [closed] = stand.api(f"admin/sites/{SITE.id}/closed")["closed"]
    assert closed["period"] == f"{last:%Y-%m}"

"""The plots of the pages for editors: what is counted, imported, corrected and not known can be told apart."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.admin_stand import Stand, dotted, go, looking, number, opened, sign_in
from tests.browser.admin_table import BY_NAME

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]
OVERVIEW, ARTICLE = BY_NAME["overview"], BY_NAME["article"]


def test_a_plot_says_the_same_by_slider_readout_and_table(browser: Browser, stand: Stand) -> None:
    """For every point; the arrows, Home and End move it; a bar for each point; the sum of the table is what the
    sentence says."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["viewer"])
        go(page, ARTICLE)
        page.locator("button", has_text="Xem bảng số").click()
        table = page.locator(".numbers tbody tr")
        table.first.wait_for()
        cells = [(row.locator("th").inner_text(), row.locator("td").inner_text()) for row in table.all()][::-1]
        slider = page.locator(".plot input[type=range]")
        assert page.locator(".plot rect.bar-of").count() == len(cells) + page.locator(".key rect").count()
        slider.focus()
        page.keyboard.press("Home")
        for day, views in cells:
            text = page.inner_text(".plot output")
            assert text == slider.get_attribute("aria-valuetext")
            assert text.startswith(f"{day}: {views} lượt xem")
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert str(slider.get_attribute("aria-valuetext")).startswith(cells[-2][0])
        page.keyboard.press("End")
        assert str(slider.get_attribute("aria-valuetext")).startswith(cells[-1][0])
        sentence = page.locator(".told").inner_text()
        assert sentence.startswith(f"{dotted(sum(number(views) for _, views in cells))} lượt xem")


def test_a_day_that_is_not_known_is_a_hatched_gap_and_no_zero(browser: Browser, stand: Stand) -> None:
    unknown = list[int]()

    def lose(route: Any) -> None:
        answer = route.fetch()
        found = answer.json()
        if found.get("by") == "day":
            found["rows"][-5] |= {"kind": "unknown", "known": "no", "visits": None, "views": None}
            # Midnight may have passed since the stand was made: then its last day is known in part only.
            unknown.append(sum(row["visits"] is None for row in found["rows"]))
        route.fulfill(response=answer, json=found)

    with looking(browser) as context:
        page = opened(context, stand, [])
        page.route("**/history?*", lose)
        sign_in(page, stand.tokens["viewer"])
        go(page, OVERVIEW)
        plot = page.locator(".plot").nth(1)
        gap = plot.locator(".area rect.unknown")
        expect(gap.first).to_be_attached()
        expect(gap).to_have_count(unknown[-1])
        assert "missing" in gap.first.evaluate("e => getComputedStyle(e).fill")
        plot.locator("input").focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        assert "không có số liệu" in plot.locator("output").inner_text()
        assert "thiếu số liệu" in page.locator(".told").nth(1).inner_text()


def test_the_plot_tells_two_counters_and_corrections_apart(browser: Browser, stand: Stand) -> None:
    """Old numbers in a colour of their own, the day of change a line, corrected days a mark that leads to the log; the
    average and the highest are of our own counting."""
    own = list[dict[str, Any]]()

    def older(route: Any) -> None:
        answer = route.fetch()
        found = answer.json()
        if found.get("by") == "day":
            rows = found["rows"]
            rows[-12] |= {"kind": "imported", "visits": 90_000, "imported": {"visits": 90_000, "views": 0}}
            rows[-11] |= {"visits": 300, "imported": {"visits": 200, "views": 0}}
            rows[-9] |= {"visits": 100, "corrected": {"visits": -5, "views": 0}}
            found["changed"] = rows[-11]["name"]
            own[:] = rows
        route.fulfill(response=answer, json=found)

    with looking(browser) as context:
        page = opened(context, stand, [])
        page.route("**/history?*", older)
        sign_in(page, stand.tokens["editor"])
        go(page, OVERVIEW)
        plot = page.locator(".plot").nth(1)
        expect(plot.locator(".area .imported:not(.part)")).to_have_count(1)
        expect(plot.locator(".area .part.imported")).to_have_count(1)
        expect(plot.locator(".area .change")).to_have_count(1)
        expect(plot.locator(".area .mark")).to_have_count(1)
        legend = plot.locator(".key").inner_text()
        assert "Bộ đếm cũ đếm (có thể tính cả máy)" in legend
        year, month, day = own[-11]["name"].split("-")
        assert f"{day}/{month}/{year}: đổi bộ đếm" in legend
        assert plot.locator(".key a").get_attribute("href") == "#/bac-ha/audit"
        plot.locator("input").focus()
        for says in ("sửa tay −5", "", "trong đó 200 của bộ đếm cũ", "90.000 lượt truy cập, do bộ đếm cũ đếm"):
            for _ in range(8 if says.startswith("sửa") else 1):
                page.keyboard.press("ArrowLeft")
            assert says in plot.locator("output").inner_text()
        assert "90.000" not in page.locator(".told").nth(1).inner_text()

"""Draws the dashboards of deploy/grafana as pictures, from what a Prometheus answers to their queries: so that somebody
sees their shapes where there is no Grafana.

    .venv/bin/python -m scripts.draw_boards http://127.0.0.1:9402 [LANGUAGE]

It writes docs/images/board-NAME.png. The layout, titles, queries and units are those of the JSON; the look is not
Grafana's. It needs Chromium and the test tools (playwright), and `make ops-demo` to have run for a
quarter of an hour.
"""

import html
import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.install import find_browser

ROOT = Path(__file__).parents[1]
COLUMN, ROW, MINUTES, STEP = 46, 24, 15, 5
COLORS = ("#3867d6", "#20a070", "#e08a1e", "#b8405e", "#7c5cc4", "#2d9cbd", "#8a8d3a", "#d65db1", "#5f6b7a", "#c4532d")
STYLE = """
body { margin: 8px; background: #f4f5f7; font: 12px "DejaVu Sans", sans-serif; color: #1f2733; position: relative }
.p { position: absolute; background: #fff; border: 1px solid #d9dde3; border-radius: 3px;
  padding: 5px 8px; overflow: hidden; box-sizing: border-box }
.p h2 { font-size: 12px; margin: 0 0 2px; font-weight: 600 } .row { background: none; border: 0; padding-left: 2px }
.stat b { font-size: 26px; color: #20a070; display: block; text-align: center; padding-top: 16px }
.stat b.red { color: #c4532d }
.l { font-size: 10px; line-height: 14px; height: 28px; overflow: hidden }
.l i { display: inline-block; width: 9px; height: 3px; margin: 0 3px 3px 8px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: 3px 8px;
  border-bottom: 1px solid #e6e9ee; font-size: 11px } td + td, th + th { text-align: right }
"""


def ask(base: str, kind: str, **parameters: Any) -> list[dict[str, Any]]:
    """Ask Prometheus's API."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{base}/api/v1/{kind}?{query}", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def shown(value: float, unit: str) -> str:
    """Write a value with its unit."""
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB"):
            if abs(value) < 1024 or name == "GiB":
                return f"{value:.0f} {name}" if name == "B" else f"{value:.1f} {name}"
            value /= 1024
    if unit == "percentunit":
        return f"{100 * value:.1f} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    text = f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
    return text + {"reqps": " /s"}.get(unit, "")


def named(legend: str, labels: dict[str, str]) -> str:
    """Fill in a legend."""
    if legend == "__auto":
        return ", ".join(f"{name}={value}" for name, value in labels.items() if name != "__name__")
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def lines(panel: dict[str, Any], found: list[tuple[str, list[list[Any]]]], width: int, height: int) -> str:
    """Draw a panel of lines, with its legend."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    end, left, bottom = time.time(), 62, 16
    values = [float(value) for _, points in found for _, value in points if value != "NaN"]
    top = max(values, default=0) * 1.1 or 1
    inner_width, inner_height = width - left - 4, height - bottom - 6

    def at(moment: float, value: float) -> str:
        x = left + inner_width * (1 - (end - moment) / (60 * MINUTES))
        return f"{x:.1f},{4 + inner_height * (1 - value / top):.1f}"

    drawn = [f'<svg width="{width}" height="{height}" font-size="10" fill="#5f6b7a">']
    for share in (0, 0.5, 1):
        y = 4 + inner_height * (1 - share)
        drawn.append(f'<path d="M{left} {y:.1f}H{width - 4}" stroke="#e6e9ee"/>')
        drawn.append(f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{shown(top * share, unit)}</text>')
    for minutes in range(0, MINUTES, 5):
        x = left + inner_width * (1 - minutes / MINUTES)
        text = time.strftime("%H:%M", time.localtime(end - 60 * minutes))
        drawn.append(f'<text x="{x:.0f}" y="{height - 3}" text-anchor="end">{text}</text>')
    legend = []
    for n, (name, points) in enumerate(found):
        color = COLORS[n % len(COLORS)]
        path = " ".join(at(float(moment), float(value)) for moment, value in points if value != "NaN")
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        legend.append(f'<span><i style="background:{color}"></i>{html.escape(name)}</span>')
    return "".join(drawn) + f'</svg><div class="l">{"".join(legend)}</div>'


def drawn_panel(base: str, panel: dict[str, Any]) -> str:
    """Draw a panel."""
    place = panel["gridPos"]
    width, height = place["w"] * COLUMN - 6, place["h"] * ROW - 4
    style = f"left:{8 + place['x'] * COLUMN}px;top:{40 + place['y'] * ROW}px;width:{width}px;height:{height}px"
    head = f"<h2>{html.escape(panel['title'])}</h2>"
    kind = panel["type"]
    if kind == "row":
        return f'<div class="p row" style="{style}">{head}</div>'
    defaults = panel["fieldConfig"]["defaults"]
    queries = []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", "1m")
        for variable in ("$job", "$instance", "$site"):
            query = query.replace(variable, ".*")
        queries.append((query, target["legendFormat"]))
    if kind == "timeseries":
        now = time.time()
        found = [
            (named(legend, each["metric"]), each["values"])
            for query, legend in queries
            for each in ask(base, "query_range", query=query, start=now - 60 * MINUTES, end=now, step=STEP)
        ]
        body = lines(panel, found, width - 18, height - 58)
    elif kind == "stat":
        [(query, _)] = queries
        value = float(ask(base, "query", query=query)[0]["value"][1])
        steps = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]
        red = ' class="red"' if steps and value >= steps[0] else ""
        body = f"<b{red}>{shown(value, defaults['unit'])}</b>"
    else:
        rows: dict[str, list[str]] = {}
        for query, legend in queries:
            for each in ask(base, "query", query=query):
                labels = each["metric"]
                name = labels.get("site") or named(legend, labels)
                rows.setdefault(name, []).append(shown(float(each["value"][1]), defaults["unit"]))
        heads = "".join(f"<th>{html.escape(legend)}</th>" for _, legend in queries) if len(queries) > 1 else "<th></th>"
        body = f"<table><tr><th></th>{heads}</tr>" + "".join(
            f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
            for name, cells in sorted(rows.items())
        )
        body += "</table>"
    return f'<div class="p {kind}" style="{style}">{head}{body}</div>'


def main() -> None:
    """Draw all boards of one language."""
    base, language = sys.argv[1], (sys.argv[2:] or ["en"])[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for path in sorted((ROOT / "deploy" / "grafana" / language).glob("*.json")):
            board = json.loads(path.read_text(encoding="utf-8"))
            height = 52 + ROW * max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in board["panels"])
            # A large one is scaled down: a page with pictures is read on slow lines, too.
            scale = 0.8 if height > 1000 else 1
            page = browser.new_page(viewport={"width": 24 * COLUMN + 16, "height": height}, device_scale_factor=scale)
            panels = "".join(drawn_panel(base, panel) for panel in board["panels"])
            head = f'<div style="font-size:15px;font-weight:600;padding:2px">{html.escape(board["title"])}</div>'
            page.set_content(f'<meta charset="utf-8"><style>{STYLE}</style>{head}{panels}')
            page.screenshot(path=str(ROOT / "docs" / "images" / f"board-{path.stem}.png"))
        browser.close()


if __name__ == "__main__":
    main()

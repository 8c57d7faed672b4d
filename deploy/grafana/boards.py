"""Writes the dashboards (LANGUAGE/NAME.json) and Prometheus's recording rules (../prometheus/visitstats-rules.yml): all
expressions that both use are here, so that they share names.

    python3 deploy/grafana/boards.py

A board works without the rules, too: it holds their expressions, with its own variables in them. What the texts say is
said in Vietnamese and in English.
"""

# ruff: noqa: E501 -- a text in two languages is read more easily on one line

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "visitstats-rules.yml"
LANGUAGES = ("vi", "en")

RECORDED = {
    # Several hosts on one store show the same numbers of the sites: their highest, never their sum.
    "site:visitstats_online:max": "max by (job, site) (visitstats_online{@})",
    "job:visitstats_online:sum": "sum by (job) (max by (job, site) (visitstats_online{@}))",
    "site:visitstats_visits_today:max": 'max by (job, site) (visitstats_visits{period="today",@})',
    "site:visitstats_visits_all:max": 'max by (job, site) (visitstats_visits{period="total",@})',
    "site:visitstats_hits:rate": "max by (job, site) (rate(visitstats_hits_total{@}[~]))",
    "job:visitstats_hits:rate": "sum by (job) (max by (job, site) (rate(visitstats_hits_total{@}[~])))",
    "site_reason:visitstats_beacons_ignored:rate": "sum by (job, site, reason) (rate(visitstats_beacons_ignored_total{@}[~]))",
    "instance:visitstats_http_requests:rate": "sum by (job, instance, route, class) (rate(visitstats_http_requests_total{@}[~]))",
    "instance:visitstats_hits_refused:rate": "sum by (job, instance, reason) (rate(visitstats_hits_refused_total{@}[~]))",
    **{
        f"instance:visitstats_{what}_seconds:p99": "histogram_quantile(0.99, "
        f"sum by (job, instance, le) (rate(visitstats_{what}_seconds_bucket{{@}}[~])))"
        for what in ("acknowledge", "journal", "commit", "store_ping", "loop_lag")
    },
}
"""@ stands for further selectors, ~ for the range."""
HOST = 'job=~"$job",instance=~"$instance"'
SITE = 'job=~"$job",site=~"$site"'


class Text(NamedTuple):
    """The same in both languages."""

    vi: str
    en: str


class Panel(NamedTuple):
    """A panel, `width` of 24 columns wide. Each query is an expression, or the name of a recorded one, and the label that
    names its lines."""

    title: Text
    about: Text
    unit: str
    queries: tuple[tuple[str, str | Text], ...]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    red_from: float | None = None
    selector: str = HOST


def _row(title: Text) -> Panel:
    return Panel(title, title, "", (), "row", 24, 1)


def _stat(
    title: Text, about: Text, unit: str, query: str, red_from: float | None = None, selector: str = HOST
) -> Panel:
    return Panel(title, about, unit, ((query, ""),), "stat", 4, 4, red_from, selector)


ONLINE = Text("Đang online", "Online now")
TODAY = Text("Lượt truy cập hôm nay", "Visits today")
FLEET = (
    _stat(ONLINE, Text("Khách đang online ở mọi cổng", "Visitors online on all portals"), "short",
          "job:visitstats_online:sum", selector=SITE),
    _stat(TODAY, Text("Lượt truy cập hôm nay của mọi cổng", "Visits of today on all portals"), "short",
          'sum by (job) (max by (job, site) (visitstats_visits{period="today",@}))', selector=SITE),
    _stat(Text("Số cổng", "Portals"), Text("Cổng đã khai báo", "Sites that there are"), "short",
          "max by (job) (visitstats_sites{@})"),
    _stat(Text("Cổng im lặng", "Silent portals"),
          Text("Cổng hôm qua có trên 200 lượt nhưng 1 giờ qua không có hit nào",
               "Portals with more than 200 visits yesterday and no hit in the last hour"), "short",
          'count((max by (job, site) (increase(visitstats_hits_total{@}[1h])) == 0) and on (job, site) '
          '(max by (job, site) (visitstats_visits{period="yesterday",@}) > 200)) or vector(0)', 1, SITE),
    _stat(Text("Hit bị từ chối", "Hits refused"),
          Text("Trong 1 giờ qua; phải là 0", "In the last hour; it must be 0"), "short",
          "sum by (job) (increase(visitstats_hits_refused_total{@}[1h]))", 1),
    _stat(Text("Redis trả lời", "Redis answers"), Text("1: có, 0: không", "1: yes, 0: no"), "short",
          "min by (job) (visitstats_store_up{@})"),
    Panel(Text("Hit mỗi giây", "Hits per second"),
          Text("Mười cổng có nhiều hit nhất", "The ten portals with the most hits"), "reqps",
          (("topk(10, site:visitstats_hits:rate)", "{{site}}"),), selector=SITE),
    Panel(Text("Online theo cổng", "Online by portal"), Text("Mười cổng đông nhất", "The ten busiest portals"), "short",
          (("topk(10, site:visitstats_online:max)", "{{site}}"),), selector=SITE),
    Panel(Text("Các cổng", "Portals"), Text("Số của hôm nay và từ trước đến nay", "Numbers of today and of all time"),
          "short",
          (("site:visitstats_visits_today:max", TODAY),
           ("site:visitstats_visits_all:max", Text("Tổng lượt truy cập", "Visits in all")),
           ("site:visitstats_online:max", ONLINE),
           ('max by (job, site) (visitstats_peak_online{period="month",@})',
            Text("Đông nhất trong tháng", "Peak of the month"))), "table", 24, 10, selector=SITE),
    Panel(Text("Không được tính", "Not counted"),
          Text("Beacon không được tính, theo lý do (docs/counting.md, quy tắc 8)",
               "Beacons that are not counted, by reason (docs/counting.md, rule 8)"), "reqps",
          (("sum by (reason) (site_reason:visitstats_beacons_ignored:rate) > 0", "{{reason}}"),), selector=SITE),
    Panel(Text("Bài viết tính chung", "Articles counted together"),
          Text("Lượt xem tính vào (other) vì hết chỗ", "Views counted for (other) because there is no place"), "short",
          (("sum by (site, cap) (increase(visitstats_articles_capped_total{@}[1h]))", "{{site}} {{cap}}"),),
          selector=SITE),
)  # fmt: skip
PORTAL = (
    _stat(ONLINE, Text("Khách đang online", "Visitors online"), "short", "site:visitstats_online:max", selector=SITE),
    *(_stat(title, Text("Lượt truy cập", "Visits"), "short", f'max by (job, site) (visitstats_visits{{period="{period}",@}})',
            selector=SITE)
      for period, title in (("today", Text("Hôm nay", "Today")), ("yesterday", Text("Hôm qua", "Yesterday")),
                            ("month", Text("Tháng này", "This month")), ("total", Text("Tổng", "In all")))),
    _stat(Text("Khách hôm nay", "Unique today"), Text("Khách khác nhau hôm nay, ước tính", "Unique visitors of today, an estimate"),
          "short", 'max by (job, site) (visitstats_unique_visitors{period="today",@})', selector=SITE),
    Panel(Text("Hit và lượt truy cập mỗi phút", "Hits and visits per minute"), Text("Theo cổng", "By portal"), "short",
          (("60 * site:visitstats_hits:rate", Text("hit {{site}}", "hits {{site}}")),
           ("60 * sum by (job, site) (rate(visitstats_visits_started_total{@}[~]))",
            Text("lượt {{site}}", "visits {{site}}"))), selector=SITE),
    Panel(ONLINE, Text("Cùng mức đông nhất hôm nay", "With the peak of today"), "short",
          (("site:visitstats_online:max", "{{site}}"),
           ('max by (job, site) (visitstats_peak_online{period="today",@})', Text("đông nhất {{site}}", "peak {{site}}"))),
          selector=SITE),
    Panel(TODAY, Text("Hôm nay và hôm qua", "Today and yesterday"), "short",
          (("site:visitstats_visits_today:max", Text("hôm nay {{site}}", "today {{site}}")),
           ('max by (job, site) (visitstats_visits{period="yesterday",@})', Text("hôm qua {{site}}", "yesterday {{site}}"))),
          selector=SITE),
    Panel(Text("Bài viết", "Articles"), Text("Số bài viết có lượt xem", "Articles that were read"), "short",
          (("max by (job, site) (visitstats_articles{@})", "{{site}}"),), selector=SITE),
    Panel(Text("Không được tính", "Not counted"), Text("Theo lý do", "By reason"), "reqps",
          (("sum by (reason) (site_reason:visitstats_beacons_ignored:rate) > 0", "{{reason}}"),), selector=SITE),
    Panel(Text("Ghi chú", "Notes"), Text("Máy tìm kiếm và giới hạn theo mạng", "Search engines, and limits of networks"),
          "reqps", (("sum by (note) (rate(visitstats_beacons_noted_total{@}[~])) > 0", "{{note}}"),), selector=SITE),
)  # fmt: skip
SERVICE = (
    _row(Text("Yêu cầu: nhịp, lỗi, thời gian", "Requests: rate, errors, duration")),
    Panel(Text("Trả lời mỗi giây", "Answers per second"), Text("Theo lớp trạng thái", "By class of the status"), "reqps",
          (("sum by (class) (instance:visitstats_http_requests:rate)", "{{class}}"),), width=8),
    Panel(Text("Hit bị từ chối", "Hits refused"), Text("Phải là 0", "It must be 0"), "reqps",
          (("sum by (instance, reason) (instance:visitstats_hits_refused:rate)", "{{instance}} {{reason}}"),), width=8),
    Panel(Text("Người đọc chờ", "How long readers wait"),
          Text("99 % số đợt: từ hit đầu tiên đến câu trả lời", "99 % of the batches: from the first hit to the answers"), "s",
          (("instance:visitstats_acknowledge_seconds:p99", "{{instance}}"),), width=8, red_from=0.25),
    Panel(Text("Đường dẫn", "Routes"), Text("Trả lời mỗi giây, theo đường dẫn", "Answers per second, by route"), "reqps",
          (("topk(10, sum by (route) (instance:visitstats_http_requests:rate) > 0)", "{{route}}"),)),
    Panel(Text("Đĩa và Redis", "Disk and Redis"), Text("99 % số lần ghi", "99 % of the writes"), "s",
          (("instance:visitstats_journal_seconds:p99", Text("nhật ký {{instance}}", "journal {{instance}}")),
           ("instance:visitstats_commit_seconds:p99", Text("Redis {{instance}}", "Redis {{instance}}")),
           ("instance:visitstats_store_ping_seconds:p99", Text("ping {{instance}}", "ping {{instance}}")))),
    _row(Text("Sức chứa", "Saturation")),
    Panel(Text("CPU của worker", "CPU of workers"), Text("Phần của một nhân", "Share of a core"), "percentunit",
          (("rate(visitstats_worker_cpu_seconds_total{@}[~])", "{{instance}} {{worker}}"),), width=8),
    Panel(Text("Bộ nhớ của worker", "Memory of workers"), Text("RSS", "RSS"), "bytes",
          (("visitstats_worker_memory_bytes{@}", "{{instance}} {{worker}}"),), width=8),
    Panel(Text("Vòng lặp trễ", "Lag of the event loop"), Text("99 %; trên 0,1 giây là quá tải", "99 %; above 0.1 s is overload"), "s",
          (("instance:visitstats_loop_lag_seconds:p99", "{{instance}}"),), width=8, red_from=0.25),
    Panel(Text("Hàng chờ và kết nối", "Queue and connections"), Text("Hit chờ ghi; kết nối đang mở", "Hits that wait; open connections"),
          "short", (("visitstats_queue_hits{@}", Text("hit chờ {{instance}}", "waiting hits {{instance}}")),
                    ("visitstats_connections{@}", Text("kết nối {{instance}}", "connections {{instance}}"))), width=8),
    Panel(Text("Tệp đang mở", "Open files"), Text("Phần của số được phép", "Share of what is allowed"), "percentunit",
          (("visitstats_open_files{@} / visitstats_most_files{@}", "{{instance}} {{worker}}"),), width=8, red_from=0.8),
    Panel(Text("Kết nối bị đóng", "Connections closed"), Text("Theo lý do", "By reason"), "short",
          (("sum by (reason) (increase(visitstats_connections_closed_total{@}[~]))", "{{reason}}"),), width=8),
    _row(Text("Nhật ký và Redis", "Journal and Redis")),
    Panel(Text("Nhật ký chưa vào Redis", "Journal not yet in Redis"), Text("Và giới hạn của nhật ký", "And the journal's limit"), "bytes",
          (("visitstats_journal_unapplied_bytes{@}", Text("chưa vào {{instance}}", "not applied {{instance}}")),
           ("visitstats_journal_bytes{@}", Text("tất cả {{instance}}", "all {{instance}}")),
           ("visitstats_journal_limit_bytes{@}", Text("giới hạn {{instance}}", "limit {{instance}}"))), width=8),
    Panel(Text("Chờ từ bao lâu", "Waiting since"), Text("Tuổi của bản ghi cũ nhất chưa vào Redis và của số đang hiện",
                                                        "Age of the oldest record that Redis lacks, and of the numbers shown"), "s",
          (("timestamp(visitstats_journal_oldest_unapplied_timestamp_seconds{@}) - visitstats_journal_oldest_unapplied_timestamp_seconds{@}", Text("nhật ký {{instance}}", "journal {{instance}}")),
           ("timestamp(visitstats_snapshot_oldest_timestamp_seconds{@}) - visitstats_snapshot_oldest_timestamp_seconds{@}", Text("số đang hiện {{instance}}", "shown {{instance}}"))),
          width=8, red_from=60),
    Panel(Text("Trạng thái Redis", "State of Redis"), Text("Số worker theo trạng thái (docs/operations.md)",
                                                           "Workers by state (docs/operations.md)"), "short",
          (("sum by (state) (visitstats_store_state{@})", "{{state}}"),), width=8),
    Panel(Text("Bộ nhớ của Redis", "Memory of Redis"), Text("Giới hạn 0: không đặt maxmemory", "Limit 0: no maxmemory is set"), "bytes",
          (("max by (job) (visitstats_store_memory_bytes{@})", Text("đang dùng", "in use")),
           ("max by (job) (visitstats_store_memory_limit_bytes{@})", Text("giới hạn", "limit"))), width=8),
    Panel(Text("Đĩa dữ liệu", "Data disk"), Text("Còn trống", "Free"), "percentunit",
          (("visitstats_data_disk_free_bytes{@} / visitstats_data_disk_size_bytes{@}", "{{instance}}"),), width=8),
    Panel(Text("Redis từ chối và mất", "Refusals and losses"), Text("Phải là 0", "They must be 0"), "short",
          (("sum by (reason) (increase(visitstats_store_refusals_total{@}[1h]))",
            Text("từ chối {{reason}}", "refused {{reason}}")),
           ("max by (job) (visitstats_store_lost{@})", Text("cổng bị mất số", "sites with losses")),
           ("max by (job) (visitstats_journal_gaps{@})", Text("bản ghi thiếu", "records missing"))), width=8, red_from=1),
    _row(Text("Dịch vụ và công việc", "Service and tasks")),
    Panel(Text("Worker", "Workers"), Text("Mong muốn và sẵn sàng", "Wanted and ready"), "short",
          (("visitstats_workers{@}", "{{instance}} {{state}}"),
           ("sum by (instance, reason) (increase(visitstats_worker_restarts_total{@}[1h]))",
            Text("thay {{instance}} {{reason}}", "replaced {{instance}} {{reason}}"))), width=8),
    Panel(Text("Công việc", "Tasks"), Text("Giây từ lần thành công cuối", "Time since the last success"), "s",
          (("time() - max by (task) (visitstats_task_last_success_timestamp_seconds{@})", "{{task}}"),), width=8),
    Panel(Text("Phiên bản", "Versions"), Text("Chương trình đang chạy", "Programs that run"), "short",
          (("visitstats_build_info{@}", "{{instance}}: {{version}}, Python {{python}}, Redis {{store}}"),), "table", 8),
)  # fmt: skip
BOARDS = {
    "fleet": (Text("visitstats: các cổng", "visitstats: portals"), FLEET,
              Text("Mọi cổng trong một màn hình", "All portals at a glance")),
    "portal": (Text("visitstats: một cổng", "visitstats: one portal"), PORTAL,
               Text("Số của một cổng hay vài cổng", "The numbers of a portal, or of some")),
    "service": (Text("visitstats: dịch vụ", "visitstats: service"), SERVICE,
                Text("Nhịp, lỗi, thời gian và sức chứa của dịch vụ", "Rate, errors, duration and saturation of the service")),
}  # fmt: skip


def expression(text: str, selector: str = "", window: str = "5m") -> str:
    """Put recorded expressions, selectors and the range into an expression."""
    for name, recorded in RECORDED.items():
        text = text.replace(name, recorded)
    for before, after in (
        (",@}", f",{selector}}}" if selector else "}"),
        ("{@}", f"{{{selector}}}" if selector else ""),
    ):
        text = text.replace(before, after)
    return text.replace("[~]", f"[{window}]")


def _in(language: str, text: str | Text) -> str:
    return text if isinstance(text, str) else text.vi if language == "vi" else text.en


def _placed(panels: tuple[Panel, ...]) -> Iterator[tuple[Panel, dict[str, int]]]:
    """Put panels from left to right, and begin a line when one does not fit."""
    x = y = tallest = 0
    for panel in panels:
        if x + panel.width > 24:
            x, y, tallest = 0, y + tallest, 0
        yield panel, {"x": x, "y": y, "w": panel.width, "h": panel.height}
        x, tallest = x + panel.width, max(tallest, panel.height)


def _panel(number: int, panel: Panel, place: dict[str, int], language: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": number, "type": panel.kind, "title": _in(language, panel.title), "gridPos": place}
    if panel.kind == "row":
        return found | {"collapsed": False, "panels": []}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    datasource = {"type": "prometheus", "uid": "${datasource}"}
    table = panel.kind == "table"
    found |= {
        "description": _in(language, panel.about),
        "datasource": datasource,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": datasource,
                "expr": expression(query, panel.selector, "$__rate_interval"),
                "legendFormat": _in(language, legend) or "__auto",
                **({"format": "table", "instant": True} if table else {}),
            }
            for n, (query, legend) in enumerate(panel.queries)
        ],
    }
    if table and len(panel.queries) > 1:
        names = {f"Value #{chr(ord('A') + n)}": _in(language, legend) for n, (_, legend) in enumerate(panel.queries)}
        hidden = {"Time": True, "job": True}
        found["transformations"] = [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names}},
        ]
    return found


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
        "includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def board(name: str, language: str) -> dict[str, Any]:
    """Make a dashboard."""
    title, panels, about = BOARDS[name]
    say = _in(language, Text("Nguồn dữ liệu", "Data source"))
    return {
        "uid": f"visitstats-{name}-{language}",
        "title": _in(language, title),
        "description": _in(language, about),
        "tags": ["visitstats", language],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "title": "visitstats", "tags": ["visitstats", language], "asDropdown": True}],
        "templating": {
            "list": [
                {"name": "datasource", "label": say, "type": "datasource", "query": "prometheus", "current": {}},
                _variable("job", "Job", "label_values(visitstats_build_info, job)"),
                _variable(
                    "instance", _in(language, Text("Máy", "Instance")),
                    'label_values(visitstats_build_info{job=~"$job"}, instance)',
                ),
                _variable(
                    "site", _in(language, Text("Cổng", "Portal")), 'label_values(visitstats_hits_total{job=~"$job"}, site)'
                ),
            ]
        },
        "panels": [_panel(n, panel, place, language) for n, (panel, place) in enumerate(_placed(panels), 1)],
    }  # fmt: skip


def rules() -> str:
    """Make the file of recording rules."""
    lines = [
        "# Recording rules of visitstats. Made by deploy/grafana/boards.py: change them there.",
        "groups:",
        "  - name: visitstats-recorded",
        "    rules:",
    ]
    for name, recorded in RECORDED.items():
        lines += [f"      - record: {name}", f"        expr: '{expression(recorded)}'"]
    return "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """Return everything that is made, by path."""
    made = {
        HERE / language / f"{name}.json": json.dumps(board(name, language), ensure_ascii=False, indent=1) + "\n"
        for language in LANGUAGES
        for name in BOARDS
    }
    return made | {RULES: rules()}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Whole kinds of old counters, not the samples alone: forms, versions and mistakes in which their files arrive."""

import sqlite3
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from tests.importing import Files, outcome_of

DAY = "2022-11-05"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def views_of(found: dict[str, Any]) -> dict[str, int | None]:
    assert "refused" not in found, found
    return {key: each["views"] for key, each in found["articles"].items()}


# NukeViet ------------------------------------------------------------------------------------------------------------

ROWS = "CREATE TABLE `nv4_vi_news_rows` (`id` int, `catid` int, `title` varchar(250), `alias` varchar(250), `hitstotal` int);\n"


@pytest.mark.parametrize(
    "insert",
    [
        "INSERT INTO `nv4_vi_news_rows` VALUES (1,1,'A','a',5),(2,1,'B','b',7);",
        "INSERT INTO `nv4_vi_news_rows` (`id`, `catid`, `title`, `alias`, `hitstotal`) VALUES\n(1, 1, 'A', 'a', 5),\n(2, 1, 'B', 'b', 7);",
        "INSERT INTO `nv4_vi_news_rows` VALUES (1,1,'A','a',5);\nINSERT INTO `nv4_vi_news_rows` VALUES (2,1,'B','b',7);",
        "INSERT IGNORE INTO `cong`.`nv4_vi_news_rows` VALUES (1,1,_utf8mb4'A','a',5) , (2,1,'B','b',7) ;",
        "REPLACE INTO `nv4_vi_news_rows` (`hitstotal`,`id`,`alias`,`catid`,`title`) VALUES (5,1,'a',1,'A'),(7,2,'b',1,'B');",
        "/* Navicat */\nINSERT INTO `nv4_vi_news_rows` VALUES ('1','1','A','a','5');\n-- x ' y\nINSERT INTO `nv4_vi_news_rows` "
        "VALUES ('2','1','B','b','7');\n# it's over",
    ],
)  # fmt: skip
def test_nukeviet_from_any_program(files: Files, insert: str) -> None:
    """mysqldump, phpMyAdmin, Navicat and HeidiSQL write the same rows in other words."""
    found = files.take(ROWS + insert, "nukeviet", name="old.sql")
    assert found["reader"] == "nukeviet"
    assert views_of(found) == {"news:1": 5, "news:2": 7}
    assert [each["title"] for each in found["articles"].values()] == ["A", "B"]


@pytest.mark.parametrize(
    ("written", "title"),
    [
        (r"'a\'b'", "a'b"), ("'a''b'", "a'b"), (r"'a\\'", "a\\"), (r"'x),(9,9,\'y'", "x),(9,9,'y"), ("'a;\nb'", "a; b"),
        ("'INSERT INTO `x` VALUES (1);'", "INSERT INTO `x` VALUES (1);"), ("'/* no */ -- no'", "/* no */ -- no"),
        (r"'say \"hi\"'", 'say "hi"'), ("'&amp;amp;'", "&amp;"), ("'#1'", "#1"), ("''", ""), ("'(('", "(("), ("'a\r\nb'", "a b"),
        ("'`'", "`"), (r"'\n'", ""), ("NULL", ""), ("'Đẹp – “quá”'", "Đẹp – “quá”"),
    ],
)  # fmt: skip
def test_texts_in_dumps(files: Files, written: str, title: str) -> None:
    """What is inside a text is never a part of a statement, and comes out as it was."""
    found = files.take(
        ROWS + f"INSERT INTO `nv4_vi_news_rows` VALUES (1,1,{written},'a',5),(2,1,'B','b',7);", name="old.sql"
    )
    assert [each["title"] for each in found["articles"].values()] == [title, "B"]


def test_two_passes_over_a_table_of_categories_that_comes_last(files: Files) -> None:
    found = files.take(
        ROWS + "INSERT INTO `nv4_vi_news_rows` VALUES (1,3,'A','a',5);\n"
        "CREATE TABLE `nv4_vi_news_cat` (`catid` int, `alias` varchar(9), `title` varchar(9), KEY `title` (`title`));\n"
        "INSERT INTO `nv4_vi_news_cat` VALUES (3,'van-hoa','Văn &amp; hóa');",
        name="old.sql",
    )
    assert found["articles"] == {
        "/vi/news/van-hoa/a-1.html": {"views": 5, "title": "A", "author": "", "category": "Văn & hóa", "published": ""}
    }


def test_nukeviet_counter_at_the_turn_of_the_year(files: Files) -> None:
    """The first reader of January has zeroed nothing yet in the rows of December: their moments tell."""
    last = 1672506000 + 60  # 2023-01-01 00:01 in Vietnam
    found = files.take(
        "CREATE TABLE `nv4_counter` (`c_type` varchar(9),`c_val` varchar(9),`last_update` int,`c_count` int,`vi_count` int);\n"
        f"INSERT INTO `nv4_counter` VALUES ('c_time','last',0,{last},0),('total','hits',{last},100,0),"
        f"('year','2022',{last - 120},90,0),('year','2023',{last},1,0),('month','Jan',{last},1,0),"
        f"('month','Dec',{last - 120},30,0),('day','01',{last},1,0),('day','31',{last - 120},3,0);",
        name="old.sql",
    )
    assert found["site"] == {"visits_total": 100, "views_total": None}
    assert found["years"] == {"2022": 90, "2023": 1}
    assert found["months"] == {"2023-01": 1}
    assert found["days"] == {"2023-01-01": {"visits": 1}}
    assert found["undated"] == {"all": 9, "2023-01": 0}


def test_nukeviet_without_a_heading_wants_the_columns(files: Files) -> None:
    """phpMyAdmin writes no heading unless it is asked to."""
    text = '"1","3","A","a","5"\n"2","3","B","b",NULL\n'
    named = {"kind": "nukeviet", "table": "nv4_vi_news_rows"}
    assert "--columns" in files.take(text, **named)["refused"]["why"]
    found = files.take(text, "nukeviet", **named, columns=("id", "catid", "title", "alias", "hitstotal"))
    assert views_of(found) == {"news:1": 5, "news:2": 0}


def test_mojibake_is_refused_or_repaired(files: Files) -> None:
    broken = "Hội nghị".encode().decode("cp1252", "replace")
    assert "Ã" not in "Hội nghị"
    text = ROWS + f"INSERT INTO `nv4_vi_news_rows` VALUES (1,3,'{broken}','a',5);"
    assert "latin1" in files.take(text, name="old.sql")["refused"]["why"]
    whole = "Lễ hội".encode().decode("latin-1")
    found = files.take(
        ROWS + f"INSERT INTO `nv4_vi_news_rows` VALUES (1,3,'{whole}','a',5);", name="old.sql", repair_latin1=True
    )
    assert [each["title"] for each in found["articles"].values()] == ["Lễ hội"]


def test_a_dump_that_is_cut_between_statements_is_told(files: Files) -> None:
    found = files.take(
        "-- MySQL dump 10.13\n" + ROWS + "INSERT INTO `nv4_vi_news_rows` VALUES (1,1,'A','a',5);\n", name="o.sql"
    )
    assert [text.partition(":")[0] for text in found["warnings"]] == ["perhaps-cut", "categories-unknown"]


@pytest.mark.parametrize("end", [3, 20, 40, 60, 75])
def test_a_dump_that_is_cut_within_a_statement_is_refused(files: Files, end: int) -> None:
    """Nothing or all: also where the cut is between two rows."""
    text = ROWS + "INSERT INTO `nv4_vi_news_rows` VALUES (1,1,'A','a',5),\n(2,1,'B','b',7),\n(3,1,'C','c',9);"
    found = files.take(text[:-end], name="old.sql")
    assert "cut off" in found["refused"]["why"]
    assert found["refused"]["line"] in (2, 3, 4)


# SQL Server, SharePoint, tables of portals -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
def test_scripts_of_management_studio(files: Files, encoding: str) -> None:
    """A table of visits a day, by whatever name of its columns that is known, with GO and procedures around it."""
    found = files.take(
        "USE [Portal]\nGO\nCREATE TABLE [dbo].[ThongKe](\n\t[Id] [int] IDENTITY(1,1) NOT NULL,\n\t[ThoiGian] [datetime] NULL,\n"
        "\t[SoTruyCap] [bigint] NULL,\n CONSTRAINT [PK] PRIMARY KEY CLUSTERED ([Id] ASC)\n) ON [PRIMARY]\nGO\n"
        "CREATE PROCEDURE [dbo].[spThongKe_Edit] AS\nBEGIN\n INSERT INTO ThongKe VALUES (getdate(), 1)\n DECLARE @x nvarchar(9) = 'it''s'\nEND\nGO\n"
        "INSERT [dbo].[ThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (1, CAST(N'2021-03-04T23:58:11.653' AS DateTime), CAST(120 AS Numeric(18, 0)))\n"
        "INSERT [dbo].[ThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (2, CAST(N'2021-03-05 21:00:00' AS SmallDateTime), 95)\nGO\n",
        name="script.sql", encoding=encoding,
    )  # fmt: skip
    assert found["site"] == {"visits_total": 215, "views_total": None}
    assert found["days"] == {"2021-03-04": {"visits": 120}, "2021-03-05": {"visits": 95}}


def test_articles_of_a_portal_whose_columns_are_named(files: Files) -> None:
    text = "INSERT [dbo].[Tin] ([Id], [TieuDe], [SoXem]) VALUES (5, N'O''Brien thăm xã', 12)\nINSERT [dbo].[Tin] ([Id], [TieuDe], [SoXem]) VALUES (6, NULL, 3)\n"
    found = files.take(text, name="s.sql", url="/tin/{Id}.aspx", column=(("views", "SoXem"),))
    assert found["articles"] == {
        "/tin/5.aspx": {"views": 12, "title": "O'Brien thăm xã"}, "/tin/6.aspx": {"views": 3, "title": ""}
    }  # fmt: skip
    mapped = files.take(text, name="s.sql", addresses=(("5", "/a"), ("6", "/b")), column=(("views", "SoXem"),))
    assert views_of(mapped) == {"/a": 12, "/b": 3}
    assert "--url" in files.take(text, name="s.sql", column=(("views", "SoXem"),))["refused"]["why"]


@pytest.mark.parametrize(
    "begin", ["", 'ListSchema={"a":"b,\\"}{c"}\n', 'ListSchema={"schemaXmlList":["<Field \\"x\\" />"]}']
)
def test_sharepoint_lists(files: Files, begin: str) -> None:
    """With the schema before the heading, on the line above or on its own line, or without it."""
    found = files.take(
        begin + '"ID","Title","NewsCount"\n"12","Tin một","1,524"\n"13","Tin hai","7"\n', "sharepoint", encoding="utf-8-sig",
        url="/DetailNews.aspx?NewsId={ID}&ListName=TinTuc",
    )  # fmt: skip
    assert views_of(found) == {
        "/detailnews.aspx?listname=TinTuc&newsid=12": 1524, "/detailnews.aspx?listname=TinTuc&newsid=13": 7
    }  # fmt: skip


# WordPress -----------------------------------------------------------------------------------------------------------

POSTS = (
    "CREATE TABLE `wp_posts` (`ID` bigint, `post_author` bigint, `post_date` datetime, `post_title` text, `post_name` varchar(200), `post_type` varchar(20), PRIMARY KEY (`ID`));\n"
    "INSERT INTO `wp_posts` VALUES (9,1,'2023-05-01 08:00:00','Sơ kết','so-ket','post'),(10,1,'2023-05-02 08:00:00','Ảnh','anh','attachment');\n"
    "CREATE TABLE `wp_options` (`option_id` int, `option_name` varchar(191), `option_value` longtext);\n"
    "INSERT INTO `wp_options` VALUES (1,'permalink_structure','/%year%/%monthnum%/%postname%/');\n"
    "CREATE TABLE `wp_users` (`ID` int, `display_name` varchar(250));\nINSERT INTO `wp_users` VALUES (1,'Lê Hiếu');\n"
)  # fmt: skip


def test_posts_give_addresses_and_names(files: Files) -> None:
    """With its own tables beside it a counter's post number becomes the address at which the post is read."""
    found = files.take(
        POSTS + "CREATE TABLE `wp_postmeta` (`meta_id` int, `post_id` int, `meta_key` varchar(255), `meta_value` longtext);\n"
        "INSERT INTO `wp_postmeta` VALUES (1,9,'views','1500'),(2,9,'_edit_lock','1:1'),(3,77,'views','3');\n",
        "wordpress", name="wp.sql",
    )  # fmt: skip
    assert found["reader"] == "wp-postviews"
    assert found["articles"] == {
        "/2023/05/so-ket": {"views": 1500, "title": "Sơ kết", "author": "Lê Hiếu", "published": "2023-05-01T08:00:00"},
        "/?p=77": {"views": 3, "title": "", "author": "", "published": ""},
    }


def test_post_views_counter_in_a_dump(files: Files) -> None:
    found = files.take(
        POSTS + "CREATE TABLE `wp_post_views` (`id` bigint, `type` tinyint, `period` varchar(8), `count` bigint);\n"
        "INSERT INTO `wp_post_views` VALUES (9,0,'20230501',4),(9,0,'20230502',5),(9,1,'202318',9),(9,2,'202305',9),(9,4,'total',20);",
        "wordpress", name="wp.sql",
    )  # fmt: skip
    assert found["reader"] == "post-views-counter"
    assert views_of(found) == {"/2023/05/so-ket": 20}
    assert found["article_days"] == {"/2023/05/so-ket": {"2023-05-01": 4, "2023-05-02": 5}}
    assert found["undated"] == {"/2023/05/so-ket": 11}


def test_days_that_are_more_than_the_total_are_the_total(files: Files) -> None:
    found = files.take("id,type,period,count\n9,0,20230501,14\n9,4,total,10\n")
    assert views_of(found) == {"/?p=9": 14}
    assert [text.partition(":")[0] for text in found["warnings"]] == ["total-raised"]


def test_wp_statistics_with_what_was_purged(files: Files) -> None:
    """The site's views are the days and the sums of purged rows; visitors are people, and left out."""
    found = files.take(
        "CREATE TABLE `wp_statistics_visit` (`ID` int,`last_visit` datetime,`last_counter` date,`visit` int);\n"
        "INSERT INTO `wp_statistics_visit` VALUES (1,'2023-05-01 10:00:00','2023-05-01',100),(2,'2023-05-02 10:00:00','2023-05-02',50);\n"
        "CREATE TABLE `wp_statistics_historical` (`ID` int,`category` varchar(25),`page_id` int,`uri` varchar(190),`value` int);\n"
        "INSERT INTO `wp_statistics_historical` VALUES (1,'visits',0,'',1000),(2,'visitors',0,'',300),(3,'uri',9,'/a',70);\n",
        "wordpress", name="wp.sql",
    )  # fmt: skip
    assert found["site"] == {"visits_total": None, "views_total": 1150}
    assert found["days"] == {"2023-05-01": {"views": 100}, "2023-05-02": {"views": 50}}
    assert views_of(found) == {"/a": 70}


def test_jetpack_wants_its_range(files: Files) -> None:
    text = '"Sơ kết",120,https://bacha.example.vn/2023/05/so-ket/\n"Trang chủ",900,https://bacha.example.vn/\n'
    assert "--from" in files.take(text)["refused"]["why"]
    found = files.take(text, first="2023-01-01", last="2023-12-31")
    assert found["range"] == ["2023-01-01", "2023-12-31"]
    assert found["articles"] == {
        "/2023/05/so-ket": {"views": 120, "title": "Sơ kết"},
        "/": {"views": 900, "title": "Trang chủ"},
    }
    day = files.take(text, first=DAY, last=DAY)
    assert day["article_days"] == {"/2023/05/so-ket": {DAY: 120}, "/": {DAY: 900}}


# Web analytics -------------------------------------------------------------------------------------------------------


def test_ga4_in_vietnamese_with_a_table_that_repeats(files: Files) -> None:
    """Headings in the language of the user; a table by day in the same file describes the same views."""
    found = files.take(
        "# ----\n# Trang và màn hình\n# Ngày bắt đầu: 20250101\n# Ngày kết thúc: 20250131\n\nNth day,Số lượt xem\n0001,5\n\n"
        "Đường dẫn trang và lớp màn hình,Số lượt xem,Số người dùng đang hoạt động\n/a,10,3\n/b?x=1,5,2\n(other),4,1\n"
    )
    assert found["reader"] == "ga4"
    assert found["range"] == ["2025-01-01", "2025-01-31"]
    assert views_of(found) == {"/a": 10, "/b?x=1": 5}
    assert found["site"]["views_total"] == 19


def test_ga4_says_when_rows_are_hidden(files: Files) -> None:
    found = files.take("Date,Page path,Views\n,,100,Grand total\n20250701,/a,60\n20250702,/a,10\n")
    assert any(text.startswith("total-differs: the grand total is 100, the rows have 70") for text in found["warnings"])


@pytest.mark.parametrize(("encoding", "separator"), [("utf-16", ","), ("utf-16", "\t"), ("utf-8", ",")])
def test_matomo_files(files: Files, encoding: str, separator: str) -> None:
    rows = [
        ["label", "nb_visits", "nb_hits", "metadata_url"],
        ["/a", "3", "4", "https://bacha.example.vn/a"],
        ["tin", "1", "9", ""],
    ]
    text = "\n".join(separator.join(row) for row in rows[:2]) + "\n"
    assert views_of(files.take(text, encoding=encoding)) == {"/a": 4}
    folder = "\n".join(separator.join(row) for row in rows) + "\n"
    assert "flat=1" in files.take(folder, encoding=encoding)["refused"]["why"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_goatcounter_versions(files: Files, version: str) -> None:
    if version == "1":
        text = "1Path,Title,Event,Bot,Session,FirstVisit,Referrer,Referrer scheme,Browser,Screen size,Location,Date\n"
        text += (
            "/a,A,false,0,s1,true,,,x,,VN,2022-01-01T10:00:00Z\n/a,A,false,0,s1,false,,,x,,VN,2022-01-01T10:01:00Z\n"
        )
    else:
        text = "2Path,Title,Event,UserAgent,Browser,System,Session,Bot,Referrer,Referrer scheme,Screen size,Location,FirstVisit,Date\n"
        text += "/a,A,0,,x,,s1,0,,,,VN,1,2022-01-01T10:00:00Z\n"
    found = outcome_of([files.gz(text, "g.csv.gz")], files.folder)
    assert found["site"] == {"visits_total": 1, "views_total": 1}
    assert found["article_days"] == {"/a": {"2022-01-01": 1}}
    assert "version 9" in files.take(text.replace(f"{version}Path", "9Path"))["refused"]["why"]


def test_exports_that_are_no_history_are_refused(files: Files) -> None:
    plausible = files.zip(
        {"visitors.csv": "date,visitors\n2023-01-01,5\n", "pages.csv": "name,visitors,pageviews\n/a,1,2\n"}
    )
    assert "dashboard" in outcome_of([plausible], files.folder)["refused"]["why"]
    umami = files.zip({"pages.csv": "x,y\n/a,10\n"}, "umami.zip")
    assert "people, not views" in outcome_of([umami], files.folder)["refused"]["why"]


def test_plausible_without_the_sites_own_days(files: Files) -> None:
    """Pages alone give the days of pages, and the site's views as their sum."""
    found = outcome_of([files.zip({"imported_pages_20230209_20230210.csv": '"date","hostname","page","visits","visitors","pageviews"\n"2023-02-09","bacha.example.vn","/a",1,1,9\n'})], files.folder)  # fmt: skip
    assert found["site"] == {"visits_total": None, "views_total": 9}


def test_counter_dev_gives_totals_only(files: Files) -> None:
    found = files.take(
        '{"sites":{"x":{"visits":{"all":{"date":{"2023-01-01":5,"2023-02-01":7}},"2023":{"date":{"2023-01-01":5}},"2023-01-01":{"date":{"2023-01-01":5}}}}}}',
        name="dump.json",
    )  # fmt: skip
    assert found["site"] == {"visits_total": 12, "views_total": None}
    assert found["years"] == {"2023": 5}


# Joomla, Liferay -----------------------------------------------------------------------------------------------------


def test_vinaora_rows_end_at_their_moment(files: Files) -> None:
    """The row of midnight is the day before's; bots are taken off; what an upgrade has summed up has no days."""
    midnight = 1646240400  # 2022-03-03 00:00 in Vietnam
    found = files.take(
        "CREATE TABLE `jos_vvcounter_logs` (`time` int, `visits` int, `guests` int, `members` int, `bots` int, PRIMARY KEY (`time`));\n"
        f"INSERT INTO `jos_vvcounter_logs` VALUES ({midnight - 90000},250000,250000,0,0),({midnight - 900},12,8,2,2),({midnight},10,6,1,3),({midnight + 900},5,5,0,0);\n",
        name="joomla.sql",
    )  # fmt: skip
    assert found["days"] == {"2022-03-02": {"visits": 17}, "2022-03-03": {"visits": 5}}
    assert found["site"] == {"visits_total": 250022, "views_total": None}
    assert found["undated"]["all"] == 250000
    assert found["ignored"] == {"bots": 5}


def test_vinaora_of_old_counts_rows(files: Files) -> None:
    found = files.take(
        "CREATE TABLE `jos_vvisitcounter` (`id` int, `tm` int, `ip` varchar(16));\n"
        "INSERT INTO `jos_vvisitcounter` VALUES (900,1646150000,'10.0.0.1'),(905,1646150100,'10.0.0.2');\n", name="j.sql",
    )  # fmt: skip
    assert found["site"] == {"visits_total": 2, "views_total": None}
    assert "10.0.0.1" not in str(found)


def test_joomla_articles_by_their_number(files: Files) -> None:
    found = files.take(
        "CREATE TABLE `jos_content` (`id` int, `title` varchar(255), `alias` varchar(255), `catid` int, `created` datetime, `hits` int);\n"
        "INSERT INTO `jos_content` VALUES (12,'Tin','tin',8,'2020-01-01 01:00:00',822);\n", "joomla", name="j.sql",
    )  # fmt: skip
    assert found["articles"] == {
        "article:12": {"views": 822, "title": "Tin", "category": "", "published": "2020-01-01T08:00:00+07:00"}
    }


def test_liferay_joins_the_newest_version(files: Files) -> None:
    found = files.take(
        "CREATE TABLE `ViewCountEntry` (`companyId` bigint,`classNameId` bigint,`classPK` bigint,`viewCount` bigint);\n"
        "INSERT INTO `ViewCountEntry` VALUES (1,20,501,1524),(1,20,999,4);\n"
        "CREATE TABLE `JournalArticle` (`id_` bigint,`resourcePrimKey` bigint,`version` double,`urlTitle` varchar(255),`title` longtext);\n"
        "INSERT INTO `JournalArticle` VALUES (1,501,1.1,'tin-moi','Tin mới'),(2,501,1.0,'tin-cu','Tin cũ');\n", name="l.sql",
    )  # fmt: skip
    assert views_of(found) == {"/-/tin-moi": 1524}
    assert found["rows"] == {"read": 2, "taken": 1, "no-article": 1}


# Small counters ------------------------------------------------------------------------------------------------------


def digest(text: str) -> str:
    return md5(text.encode()).hexdigest()


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("page", ["/tin/a.html", "bacha.example.vn&/tin/a.html"])
def test_busuanzi_hashes_in_all_variants(files: Files, page: str, *, short: bool) -> None:
    cut = slice(8, 24) if short else slice(None)
    site = digest("bacha.example.vn")[cut]
    found = files.take(
        f'SET old:site_pv:{site} "100"\nZADD old:page_pv:{site} 60 {digest(page)[cut]}\nEXPIRE old:site_pv:{site} 5\n',
        name="keys.txt", prefix="old", pages=("https://bacha.example.vn/tin/a.html",),
    )  # fmt: skip
    assert found["reader"] == "busuanzi"
    assert views_of(found) == {"/tin/a.html": 60}
    assert found["site"]["views_total"] == 100


def test_busuanzi_in_plain_text_and_json(files: Files) -> None:
    found = files.take(
        '{"bsz:site_pv:bacha.example.vn": "50", "bsz:page_pv:bacha.example.vn:/a": 20, "x": 1}', name="k.json"
    )
    assert (views_of(found), found["site"]["views_total"]) == ({"/a": 20}, 50)


def test_vercount(files: Files) -> None:
    found = files.take(
        "SET pv:site:bacha.example.vn 90\nSET pv:page:bacha.example.vn:/a 40\nSET pv:site:other.vn 7\n", name="k.txt"
    )
    assert found["reader"] == "vercount"
    assert (views_of(found), found["site"]["views_total"]) == ({"/a": 40}, 90)


def test_moe_counter_from_its_database(files: Files, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "count.db")
    db.execute("CREATE TABLE tb_count (id INTEGER PRIMARY KEY, name VARCHAR(32), num BIGINT)")
    db.executemany("INSERT INTO tb_count (name, num) VALUES (?, ?)", [("trang-chu", 900), ("/a", 7), ("la", 3)])
    db.commit()
    db.close()
    found = outcome_of([tmp_path / "count.db"], tmp_path, names=(("trang-chu", "site"),))
    assert (views_of(found), found["site"]["views_total"]) == ({"/a": 7}, 900)
    assert found["rows"]["no-article"] == 1


HITS = [
    ("CREATE TABLE public.hitcount_hit_count (id integer, hits integer, content_type_id integer, object_pk text);\n"
     "COPY public.hitcount_hit_count (id, hits, content_type_id, object_pk) FROM stdin;\n1\t50\t7\t5\n2\t\\N\t7\t6\n\\.\n"
     "COPY public.hitcount_hit (id, created, ip) FROM stdin;\n1\t2023-01-01\t10.0.0.1\n\\.\n", "pg.sql"),
    ('PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE "hitcount_hit_count" ("id" integer, "hits" integer, "content_type_id" integer, "object_pk" text);\n'
     "INSERT INTO hitcount_hit_count VALUES(1,50,7,'5');\nINSERT INTO \"hitcount_hit_count\" VALUES(2,0,7,'6');\nCOMMIT;\n", "lite.sql"),
    ('[{"model":"hitcount.hitcount","pk":1,"fields":{"hits":50,"content_type":7,"object_pk":"5"}},{"model":"hitcount.hitcount","pk":2,"fields":{"hits":0,"content_type":7,"object_pk":"6"}},'
     '{"model":"hitcount.hit","pk":9,"fields":{"created":"2023-01-01","ip":"10.0.0.1"}}]', "dump.json"),
    ("id,hits,content_type_id,object_pk\n1,50,7,5\n2,0,7,6\n", "hits.csv"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name"), HITS)
def test_django_hitcount_in_every_form(files: Files, text: str, name: str) -> None:
    found = files.take(text, name=name, url="/bai/{object_pk}/")
    assert found["reader"] == "django-hitcount"
    assert views_of(found) == {"/bai/5": 50, "/bai/6": 0}
    assert "10.0.0.1" not in str(found)


def test_a_file_with_one_number(files: Files) -> None:
    assert files.take("1.524.318\r\n", name="SoTruyCap.txt")["site"] == {"visits_total": 1524318, "views_total": None}
    assert files.take("42", name="n.txt", counts="views")["site"] == {"visits_total": None, "views_total": 42}
    assert files.take("-5", name="n.txt")["refused"]["why"] == "a count cannot be negative"

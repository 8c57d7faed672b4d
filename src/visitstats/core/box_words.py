"""What a box says, in the languages that portals of the region write: the labels of its lines, its title, its note.

The widget has the same words (`widget/src/words`), for boxes that it builds; these are for boxes that the service
renders.
"""

from collections.abc import Mapping
from types import MappingProxyType

DEFAULT_LANGUAGE = "vi"

WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "vi": {
            "online": "Đang online",
            "search_engines": "Máy chủ tìm kiếm",
            "today": "Hôm nay",
            "yesterday": "Hôm qua",
            "week": "Trong tuần",
            "last_week": "Tuần trước",
            "month": "Trong tháng",
            "last_month": "Tháng trước",
            "year": "Trong năm",
            "total": "Tất cả",
            "average": "Trung bình mỗi ngày",
            "record": "Cao nhất",
            "title": "Thống kê truy cập",
            "at": "cập nhật lúc ",
        },
        "en": {
            "online": "Online now",
            "search_engines": "Search engines",
            "today": "Today",
            "yesterday": "Yesterday",
            "week": "This week",
            "last_week": "Last week",
            "month": "This month",
            "last_month": "Last month",
            "year": "This year",
            "total": "Total",
            "average": "Average per day",
            "record": "Record",
            "title": "Visitor statistics",
            "at": "updated at ",
        },
        "fr": {
            "online": "En ligne",
            "search_engines": "Moteurs de recherche",
            "today": "Aujourd’hui",
            "yesterday": "Hier",
            "week": "Cette semaine",
            "last_week": "Semaine dernière",
            "month": "Ce mois-ci",
            "last_month": "Mois dernier",
            "year": "Cette année",
            "total": "Total",
            "average": "Moyenne par jour",
            "record": "Record",
            "title": "Statistiques de visites",
            "at": "mis à jour à ",
        },
        "zh": {
            "online": "当前在线",
            "search_engines": "搜索引擎",
            "today": "今日",
            "yesterday": "昨日",
            "week": "本周",
            "last_week": "上周",
            "month": "本月",
            "last_month": "上月",
            "year": "今年",
            "total": "总计",
            "average": "日均",
            "record": "最高",
            "title": "访问统计",
            "at": "更新于 ",
        },
        "th": {
            "online": "กำลังออนไลน์",
            "search_engines": "เครื่องมือค้นหา",
            "today": "วันนี้",
            "yesterday": "เมื่อวาน",
            "week": "สัปดาห์นี้",
            "last_week": "สัปดาห์ที่แล้ว",
            "month": "เดือนนี้",
            "last_month": "เดือนที่แล้ว",
            "year": "ปีนี้",
            "total": "ทั้งหมด",
            "average": "เฉลี่ยต่อวัน",
            "record": "สูงสุด",
            "title": "สถิติผู้เข้าชม",
            "at": "อัปเดตเมื่อ ",
        },
        "ru": {
            "online": "Сейчас на сайте",
            "search_engines": "Поисковые системы",
            "today": "Сегодня",
            "yesterday": "Вчера",
            "week": "За неделю",
            "last_week": "За прошлую неделю",
            "month": "За месяц",
            "last_month": "За прошлый месяц",
            "year": "За год",
            "total": "Всего",
            "average": "В среднем за день",
            "record": "Максимум",
            "title": "Статистика посещений",
            "at": "обновлено в ",
        },
        "km": {
            "online": "កំពុងអនឡាញ",
            "search_engines": "ម៉ាស៊ីនស្វែងរក",
            "today": "ថ្ងៃនេះ",
            "yesterday": "ម្សិលមិញ",
            "week": "សប្ដាហ៍នេះ",
            "last_week": "សប្ដាហ៍មុន",
            "month": "ខែនេះ",
            "last_month": "ខែមុន",
            "year": "ឆ្នាំនេះ",
            "total": "សរុប",
            "average": "មធ្យមក្នុងមួយថ្ងៃ",
            "record": "ខ្ពស់បំផុត",
            "title": "ស្ថិតិអ្នកចូលមើល",
            "at": "ធ្វើបច្ចុប្បន្នភាពនៅ ",
        },
        "lo": {
            "online": "ກຳລັງອອນໄລນ໌",
            "search_engines": "ເຄື່ອງມືຄົ້ນຫາ",
            "today": "ມື້ນີ້",
            "yesterday": "ມື້ວານນີ້",
            "week": "ອາທິດນີ້",
            "last_week": "ອາທິດທີ່ແລ້ວ",
            "month": "ເດືອນນີ້",
            "last_month": "ເດືອນທີ່ແລ້ວ",
            "year": "ປີນີ້",
            "total": "ທັງໝົດ",
            "average": "ສະເລ່ຍຕໍ່ມື້",
            "record": "ສູງສຸດ",
            "title": "ສະຖິຕິການເຂົ້າຊົມ",
            "at": "ອັບເດດເວລາ ",
        },
    }
)

_DOT = frozenset({"vi", "lo", "km", "de", "es", "it", "id", "nl", "pt", "tr"})


def language_of(text: str) -> str:
    """Return the language part of a tag, as vi of `vi_VN` or `vi-VN`; the default for what is none."""
    found = text.replace("_", "-").partition("-")[0].lower()
    return found if 2 <= len(found) <= 3 and found.isascii() and found.isalpha() else DEFAULT_LANGUAGE


def words_of(text: str) -> Mapping[str, str]:
    """Return the words of a language, or those of the default."""
    return WORDS.get(language_of(text), WORDS[DEFAULT_LANGUAGE])


def grouping_of(text: str) -> str:
    """Return what stands between thousands in a language."""
    language = language_of(text)
    if language in _DOT:
        return "."
    return {"fr": "\u202f", "ru": "\xa0", "uk": "\xa0", "pl": "\xa0", "cs": "\xa0", "sv": "\xa0"}.get(language, ",")

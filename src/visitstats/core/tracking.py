"""Parameters that say how a reader came to a page, and never which page it is: data, with where each is known from.

They are left out of keys on every site. A name belongs in here when its owner documents it, or when the lists of
several browsers strip it, and when no portal could use it for an article: `ref`, `src`, `source`, `tab`, `page`, `sid`
and `id` do not. What only some systems add (print views, share buttons) stands in the preset of the system.

A new name gives the addresses that carry it new keys, so it is added early, and none is taken out again.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Family(NamedTuple):
    """Names of one origin. `names` are in lower case; `name*` stands for all names that begin so."""

    names: str
    owner: str
    source: str
    seen: str
    """The date on which the source was read."""


_BROWSERS = "the lists that Firefox (privacy.query_stripping.strip_list) and Brave (query filter) strip"

FAMILIES: tuple[Family, ...] = (
    Family("utm_*", "Google Analytics and all that take its names over", "support.google.com/analytics/10917952",
           "2026-11-29"),
    Family("gclid gclsrc gbraid wbraid dclid gad_source gad_campaignid srsltid", "Google Ads and Shopping",
           "support.google.com/google-ads/9744275", "2026-11-29"),
    Family("_ga _gl _gac _gid", "Google Analytics across domains", "support.google.com/analytics/10071811",
           "2026-11-29"),
    Family("_x_tr_*", "Google Translate, on every page that it shows",
           "developers.google.com/search/docs/appearance/ad-network-and-translation", "2026-11-29"),
    Family("fbclid fb_* mibextid sfnsn sfns rdid share_url", "Facebook and Messenger",
           "links of the apps, collected from public posts", "2026-11-29"),
    Family("igsh igshid", "Instagram", _BROWSERS, "2026-11-29"),
    Family("zarsrc zanpid gidzl typeinapp utm_zalo", "Zalo", "links of the app, seen on portals", "2026-11-24"),
    Family("twclid ttclid li_fat_id epik rdt_cid sccid ndclid qclid", "X, TikTok, LinkedIn, Pinterest, Reddit, "
           "Snapchat, Nextdoor, Quora", "the advertisers' help pages of each", "2026-11-29"),
    Family("msclkid", "Microsoft Advertising", _BROWSERS, "2026-11-29"),
    Family("yclid ysclid ymclid _openstat", "Yandex", _BROWSERS, "2026-11-29"),
    Family("mtm_* matomo_* pk_* piwik_*", "Matomo", "matomo.org/faq/how-to/faq_120", "2026-11-29"),
    Family("at_campaign at_medium at_format at_creation at_variant at_network xtor", "Piano (AT Internet)",
           "developers.atinternet-solutions.com", "2026-11-29"),
    Family("_hsenc _hsmi __hssc __hstc __hsfp hsctatracking hsa_*", "HubSpot", _BROWSERS, "2026-11-29"),
    Family("mc_cid mc_eid", "Mailchimp", _BROWSERS, "2026-11-29"),
    Family("mkt_tok", "Marketo", _BROWSERS, "2026-11-29"),
    Family("ml_subscriber ml_subscriber_hash", "MailerLite", _BROWSERS, "2026-11-29"),
    Family("vero_conv vero_id oly_anon_id oly_enc_id wickedid rb_clickid s_cid oft_c oft_ck oft_d oft_id oft_ids oft_k "
           "oft_lk oft_sk __s _kx _ke dm_i trk_contact trk_msg trk_module trk_sid _bta_c _bta_tid bsft_*",
           "senders of newsletters and campaigns", _BROWSERS, "2026-11-29"),
    Family("irclickid irgwc cjevent cjdata s_kwcid ef_id awesm _branch_match_id _branch_referrer", "affiliate networks",
           _BROWSERS, "2026-11-29"),
    Family("spm scm", "Alibaba and the systems that copy it", "links that people shared", "2026-11-29"),
    Family("guccounter guce_referrer guce_referrer_sig", "Yahoo's consent page", "AdGuard's URL tracking filter",
           "2026-11-29"),
    Family("isappinstalled wechat_redirect", "WeChat", "links of the app", "2026-11-29"),
    Family("__cf_chl_*", "Cloudflare's challenge", "links that people shared", "2026-11-24"),
    Family("nocache cachebuster aspxautodetectcookiesupport", "caches, ASP.NET's test for cookies",
           "seen on portals", "2026-11-24"),
    Family("phpsessid jsessionid sessionid session_id asp.net_sessionid cfid cftoken", "sessions of PHP, Java, ASP.NET "
           "and ColdFusion", "seen on portals", "2026-11-29"),
    Family("replytocom", "WordPress' link to the form below a comment", "seen on portals", "2026-11-24"),
)  # fmt: skip

_ALL = [name for family in FAMILIES for name in family.names.split()]
NAMES = frozenset(name for name in _ALL if not name.endswith("*"))
PREFIXES = tuple(name[:-1] for name in _ALL if name.endswith("*"))

BY_VALUE: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        # jQuery.ajax with `cache: false` adds the milliseconds of now: api.jquery.com/jQuery.ajax (2026-11-29).
        "_": re.compile(r"[0-9]+"),
        # phpBB and ASP portals carry their session so; a short `sid` is the number of an article.
        "sid": re.compile(r"[0-9a-f]{32}", re.IGNORECASE),
    }
)
"""Names that only track with certain values; with others they may name an article."""

PATH_SESSION = re.compile(
    r"(?<!&amp)(?<!;amp);(?:jsessionid|phpsessid|sessionid|session_id|sid|cfid|cftoken|wosid)(?:=[^;?&]*)?(?=[;?&]|\Z)",
    re.IGNORECASE,
)
"""A session at the end of a part of a path: Servlet specification 6, section 7.1.3, and those who followed it."""
SESSION_SEGMENT = re.compile(r"\((?:[A-Za-z]\([A-Za-z0-9_!*'-]*\))+\)")
"""A part of a path that is ASP.NET's session without cookies, as (S(lit3py55t21z5v55vlm25s55)): Microsoft's
documentation of `cookieless` in system.web/sessionState and forms authentication."""

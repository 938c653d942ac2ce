"""Lines of the page and not of the text: menus, notices, adverts, and lines that a document repeats."""

import re
from collections import Counter

from preceptor.data.cleaning.options import BoilerplateOptions
from preceptor.data.cleaning.verdict import Change, Drop, first_over
from preceptor.data.cleaning.words import TERMINAL

NOTICES = re.compile(
    r"all rights reserved|(?:©|copyright\b|\(c\)) ?\d{4}|terms (?:of (?:use|service)|and conditions)|privacy policy"
    r"|cookie policy|(?:uses?|accept) cookies|use of cookies|sign (?:in|up) (?:to|for|with)|log ?in (?:to|with)"
    r"|^(?:home|menu|search|login|sign in|sign up|register|share|tweet|print|reply|next|previous|back to top"
    r"|skip to (?:main )?content|read more|load more|show more|related (?:posts|articles)|leave a (?:comment|reply)"
    r"|comments?(?: \(\d+\))?|advertisement|sponsored(?: content)?)\W*$"
    r"|subscribe (?:to|now)|newsletter|follow us on|share (?:this|on)|enable javascript|javascript (?:is|must be)"
    r"|版权所有|隐私(?:政策|声明)|用户协议|京ICP|ICP[备證证]|公网安备|未经(?:授权|许可).{0,6}(?:转载|复制)|责任编辑"
    r"|上一[篇页][:：]|下一[篇页][:：]|返回(?:首页|顶部)|点击(?:查看|进入|阅读)|相关(?:阅读|推荐|文章|新闻)[:：]?$"
    r"|分享到|扫(?:一扫|码)|关注(?:我们|公众号)|微信公众号|加载更多|展开全文|登录.{0,4}注册|免责声明",
    re.IGNORECASE)
ADVERTS = re.compile(
    r"\b(?:buy now|add to cart|free shipping|limited time offer|order now|click here|% off\b|coupon code|promo code"
    r"|best price|money[- ]back guarantee|call (?:us )?(?:now|today))"
    r"|立即(?:购买|抢购|下单|咨询)|加入购物车|包邮|限时(?:优惠|抢购|特价)|全场.{0,3}折|优惠券|加(?:微信|QQ|薇信)|代[开办].{0,3}发票"
    r"|招商加盟|免费(?:咨询|领取|试用)|联系客服|点击购买", re.IGNORECASE)
LEAST_REPEATED = 8


def without_boilerplate(text: str, options: BoilerplateOptions) -> tuple[str, list[Change]]:
    """The text without such lines, and how many of each kind went."""
    lines = text.split("\n")
    counts = Counter(line.strip() for line in lines)
    kept: list[str] = []
    gone: dict[str, list[str]] = {}
    seen: set[str] = set()
    for line in lines:
        bare = line.strip()
        kind = None
        if bare and len(bare) <= options.longest_line:
            kind = ("boilerplate: notice" if NOTICES.search(bare) else
                    "boilerplate: advert" if ADVERTS.search(bare) else None)
        if (bare in seen and counts[bare] >= options.repeats and len(bare) >= LEAST_REPEATED
                and not bare.endswith(TERMINAL)):  # people say "Yes, sir." as often as they like
            kind = "boilerplate: repeated line"
        seen.add(bare)
        if kind:
            gone.setdefault(kind, []).append(bare)
        else:
            kept.append(line)
    changes = [Change(kind, len(removed), removed[0][:120]) for kind, removed in gone.items()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n"), changes


def mostly_boilerplate(before: str, after: str, options: BoilerplateOptions) -> Drop | None:
    """Whether so much of a text was boilerplate that the rest is not worth keeping."""
    share = 1 - len(after) / max(1, len(before))
    return first_over([("boilerplate: most of the text", share, options.most_removed)])

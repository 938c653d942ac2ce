"""Chinese: the templated tasks of the ten use cases, and brainstorming. The kinds are those of English."""

from preceptor.village.language import Form, Ideas

TRIP = "{weekday}{person}去了{spot}。那天天气{weather}。{he}在那里遇见了{person2}。他们买了{a_item}，然后回家了。"
LOSS = "{person}有{a_item}，{he}非常{joy}。{weekday}{he}在{spot}旁边把{item}弄丢了。晚上{person2}找到了它。"
VISIT = "{person}带着{a_animal}来到{town}。{he}住在{person2}家里，一直到{weekday}。那几天天气{weather}。"
SUMMARY = "请用一句话概括这段文字："
SHORTER = "这段文字主要说了什么？"

GENERATION = {
    "letter": Form(
        (
            "请替{person}给{person2}写一封短信，说说{spot}。",
            "写一封给{person2}的信，内容是{spot}，写信人是{person}。",
            "{person}想给{person2}写信谈谈{spot}，请帮忙。",
        ),
        (
            "亲爱的{person2}：今天我去了{spot}。天气{weather}，我想起了你。你的朋友{person}",
            "亲爱的{person2}：{weekday}我又看到了{spot}。希望我们能早点一起去。你的朋友{person}",
            "亲爱的{person2}：你去过{spot}吗？我非常喜欢那里。你的朋友{person}",
        ),
        ("person", "person2", "spot"),
    ),
    "thanks": Form(
        (
            "写一张便条，让{person}感谢{person2}送的{a_item}。",
            "{person}收到了{person2}送的{a_item}，请写一张感谢便条。",
            "请感谢{person2}送的{a_item}，署名是{person}。",
        ),
        (
            "亲爱的{person2}：谢谢你送的{item}。我非常喜欢。你的朋友{person}",
            "亲爱的{person2}：你送的{item}真好。太感谢你了！你的朋友{person}",
        ),
        ("person", "person2", "item"),
    ),
    "invitation": Form(
        (
            "写一张便条，请{person}{weekday}来{spot}。",
            "请{person}{weekday}到{spot}来，帮我写邀请。",
            "我想{weekday}在{spot}见{person}，请写一份邀请。",
        ),
        (
            "亲爱的{person}：请你{weekday}来{spot}。希望在那里见到你。",
            "亲爱的{person}：你{weekday}来{spot}好吗？一定会很有意思。",
        ),
        ("person", "spot", "weekday"),
    ),
    "story": Form(
        (
            "请写一个关于{a_animal}和{a_job}的小故事。",
            "给我讲一个{a_job}和{a_animal}的故事。",
            "写一个故事，里面有{a_animal}和{a_job}。",
        ),
        (
            "从前有{a_animal}，它非常{sorrow}。有一天它在{spot}遇见了{a_job}。他们成了朋友，再也不分开。",
            "有一天，{a_job}在{spot}旁边发现了{a_animal}。{job}给了它一点吃的。从那天起，{animal}一直跟着{job}。",
            "{a_job}和{a_animal}出去走了很远。他们在{spot}旁边迷路了。最后{animal}找到了回家的路。",
        ),
        ("animal", "job"),
        ("从前{a_job}遇见了{a_animal}。",),
    ),
    "sign": Form(
        (
            "写一块招牌，卖{a_item}，价钱是{number}枚硬币。",
            "我卖{a_item}，只要{number}枚硬币，请写一块招牌。",
            "写一句话来卖{number}枚硬币{a_item}。",
        ),
        ("出售{a_item}，只要{number}枚硬币！", "今天快来买{a_item}！只要{number}枚硬币。"),
        ("item", "number"),
        ("{item}，{number}枚硬币。",),
    ),
    "poem": Form(
        (
            "请写一首短诗，里面有{a_animal}和{nature}。",
            "写两句关于{animal}和{nature}的诗。",
            "我想要一首{animal}在{nature}边的小诗。",
        ),
        (
            "{animal}静静睡，一天过去了。{nature}阳光下，金光闪闪照。",
            "{animal}清早唱，歌声多响亮。{nature}静静听，一听到天黑。",
        ),
        ("animal", "nature"),
    ),
}

CHAT = {
    "greeting": Form(
        ("你好，我是{person}。你好吗？", "早上好！我叫{person}。", "你好，这里是{person}。你能帮我吗？"),
        ("你好，{person}，我很好，谢谢。我能帮你什么？", "早上好，{person}！今天我能为你做什么？"),
        ("person",),
        ("你好，{person}。",),
    ),
    "comfort": Form(
        ("我把{item}丢在{spot}了，我很{sorrow}。", "我在{spot}旁边丢了{item}，现在很{sorrow}。"),
        ("听到这个我很{sympathy}。希望你早日找到{item}。", "你丢了{item}，我很{sympathy}。你去{spot}找过吗？"),
        ("sympathy", "item"),
        fixed=(("sympathy", "sorry"),),
    ),
    "share_joy": Form(
        ("我在{spot}找到了我的{item}，我很{joy}。", "我在{spot}旁边找到了{item}，现在很{joy}。"),
        ("听到这个我很{sympathy}。请好好保管你的{item}。", "你找到了{item}，我很{sympathy}。这是好消息！"),
        ("sympathy", "item"),
        fixed=(("sympathy", "glad"),),
    ),
    "farewell": Form(
        ("再见，我要和{person}去{spot}了。", "我得走了，{person}在{spot}等我。"),
        ("再见！祝你和{person}在{spot}玩得愉快。", "再见！希望你和{person}在{spot}过得愉快。"),
        ("spot", "person"),
    ),
}

REWRITE = {
    "polite_give": Form(
        ("改成礼貌的说法：把{spot}的{item}给我。", "请礼貌地说：把{spot}的{item}给我。"),
        ("请把{spot}的{item}给我。", "能不能请你把{spot}的{item}给我？"),
        exact=True,
    ),
    "polite_bring": Form(
        ("改成礼貌的说法：把{item}交给{person}。", "请礼貌地说：把{item}交给{person}。"),
        ("请把{item}交给{person}。", "能不能请你把{item}交给{person}？"),
        exact=True,
    ),
    "replace": Form(
        (
            "把{person}换成{person2}：{person}带着{a_item}去了{spot}。",
            "改写成{person2}的事：{person}带着{a_item}去了{spot}。",
        ),
        ("{person2}带着{a_item}去了{spot}。",),
        exact=True,
    ),
    "past": Form(
        ("改成昨天的事：{person}在{spot}买{a_item}。", "请写成已经发生的事：{person}在{spot}买{a_item}。"),
        ("昨天{person}在{spot}买了{a_item}。", "{person}在{spot}买了{a_item}。"),
        exact=True,
    ),
    "shorten": Form(
        (
            "把这句话写短：{weekday}天气{weather}，{person}走了很远的路去{spot}。",
            "用更少的字说：{weekday}天气{weather}，{person}走了很远的路去{spot}。",
        ),
        ("{weekday}{person}去了{spot}。", "{person}去了{spot}。", "{person}{weekday}去了{spot}。"),
        exact=True,
    ),
    "question": Form(
        ("改成问句：{person}{weekday}买了{a_item}。", "把这句话变成问题：{person}{weekday}买了{a_item}。"),
        ("{person}{weekday}买了{a_item}吗？",),
        exact=True,
    ),
}

SUMMARIZATION = {
    "trip": Form(
        (SUMMARY + TRIP, SHORTER + TRIP),
        ("{person}和{person2}在{spot}买了{a_item}。", "{person}在{spot}遇见{person2}，他们买了{a_item}。"),
        ("person", "person2", "item", "spot"),
    ),
    "loss": Form(
        (SUMMARY + LOSS, SHORTER + LOSS),
        ("{person}丢了{a_item}，{person2}找到了它。", "{person2}找到了{person}丢的{item}。"),
        ("person", "person2", "item"),
    ),
    "visit": Form(
        (SUMMARY + VISIT, SHORTER + VISIT),
        ("{person}带着{a_animal}去{town}看{person2}。", "{person}在{town}的{person2}家里住到{weekday}。"),
        ("person", "person2", "town"),
    ),
}

POSITIVE, NEGATIVE = (("tone", "positive"),), (("tone", "negative"),)
TONE = "这句话是正面的还是负面的？"
TONE_ANSWERS = ("这句话是{tone}的。", "这是一句{tone}的话。")
SORT = ("%s是动物、职业还是食物？", "请选动物、职业或食物：%s。", "%s是什么：食物、动物还是职业？")
SORT_ANSWERS = ("%s是{a_sort}。", "它是{a_sort}。")

CLASSIFICATION = {
    "good_day": Form(
        (TONE + "因为{person}，我今天很{joy}。", TONE + "{person}在{spot}很{joy}。"),
        TONE_ANSWERS,
        ("tone",),
        ("{tone}。",),
        fixed=POSITIVE,
    ),
    "bad_day": Form(
        (TONE + "因为{person}，我今天很{sorrow}。", TONE + "{person}在{spot}很{sorrow}。"),
        TONE_ANSWERS,
        ("tone",),
        ("{tone}。",),
        fixed=NEGATIVE,
    ),
    "creature": Form(
        tuple(text.replace("%s", "{animal}") for text in SORT),
        tuple(text.replace("%s", "{animal}") for text in SORT_ANSWERS),
        ("sort",),
        ("{sort}。",),
        fixed=(("sort", "animal"),),
    ),
    "profession": Form(
        tuple(text.replace("%s", "{job}") for text in SORT),
        tuple(text.replace("%s", "{job}") for text in SORT_ANSWERS),
        ("sort",),
        ("{sort}。",),
        fixed=(("sort", "job"),),
    ),
    "dish": Form(
        tuple(text.replace("%s", "{food}") for text in SORT),
        tuple(text.replace("%s", "{food}") for text in SORT_ANSWERS),
        ("sort",),
        ("{sort}。",),
        fixed=(("sort", "food"),),
    ),
}

OTHER = {
    "sum": Form(
        ("{number}加{number2}等于多少？", "请算{number}加{number2}。", "{number}和{number2}加起来是多少？"),
        ("{number}加{number2}等于{number3}。",),
        ("number3",),
        ("{number3}。",),
        derive="sum",
    ),
    "difference": Form(
        (
            "{number}减{number2}等于多少？",
            "从{number}里拿走{number2}还剩多少？",
            "我有{number}枚硬币，买{a_item}花了{number2}枚，还剩几枚？",
        ),
        ("{number}减{number2}等于{number3}。",),
        ("number3",),
        ("{number3}。",),
        derive="difference",
    ),
    "next_day": Form(
        (
            "{weekday}的后一天是星期几？",
            "今天是{weekday}，明天是星期几？",
            "我在{weekday}的后一天去{spot}见{person}，那天是星期几？",
        ),
        ("{weekday}的后一天是{weekday2}。",),
        ("weekday2",),
        ("{weekday2}。",),
        derive="next_day",
    ),
}

TEXT, ASK = "请读这段文字：", "请回答："
NOT_STATED = ("文中没有说。", "这段文字没有告诉我们。")
CLOSED_QA = {
    "trip_who": Form(
        (TEXT + TRIP + ASK + "{person}遇见了谁？",), ("{person}遇见了{person2}。",), ("person2",), ("{person2}。",)
    ),
    "trip_what": Form((TEXT + TRIP + ASK + "他们买了什么？",), ("他们买了{a_item}。",), ("item",), ("{a_item}。",)),
    "trip_day": Form((TEXT + TRIP + ASK + "那天是星期几？",), ("那天是{weekday}。",), ("weekday",), ("{weekday}。",)),
    "loss_where": Form(
        (TEXT + LOSS + ASK + "{item}丢在哪里？",), ("{item}丢在{spot}旁边。",), ("spot",), ("{spot}旁边。",)
    ),
    "loss_who": Form(
        (TEXT + LOSS + ASK + "谁找到了{item}？",), ("{person2}找到了{item}。",), ("person2",), ("{person2}。",)
    ),
    "visit_animal": Form(
        (TEXT + VISIT + ASK + "什么动物来到了{town}？",),
        ("{person}带来了{a_animal}。",),
        ("animal",),
        ("{a_animal}。",),
    ),
    "trip_price": Form(
        (TEXT + TRIP + ASK + "{item}花了多少钱？",), NOT_STATED, invented=("{item}花了{number}枚硬币。",)
    ),
    "visit_food": Form((TEXT + VISIT + ASK + "{person}吃了什么？",), NOT_STATED, invented=("{person}吃了{food}。",)),
}

EXTRACTION = {
    "trip_people": Form(
        ("请列出文中的人：" + TRIP, "这段文字提到了谁？" + TRIP),
        ("{person}和{person2}。", "文中的人是{person}和{person2}。"),
        ("person", "person2"),
    ),
    "loss_item": Form(
        ("这段文字提到了什么东西？" + LOSS, "找出文中丢失的东西：" + LOSS),
        ("东西是{a_item}。",),
        ("item",),
        ("{a_item}。",),
    ),
    "visit_town": Form(
        ("这段文字提到了哪个镇？" + VISIT, "找出文中的小镇：" + VISIT), ("小镇是{town}。",), ("town",), ("{town}。",)
    ),
    "visit_animal": Form(
        ("这段文字提到了什么动物？" + VISIT, "找出文中的动物：" + VISIT),
        ("动物是{a_animal}。",),
        ("animal",),
        ("{a_animal}。",),
    ),
}

FORMS = {
    "generation": GENERATION,
    "chat": CHAT,
    "rewrite": REWRITE,
    "summarization": SUMMARIZATION,
    "classification": CLASSIFICATION,
    "other": OTHER,
    "closed_qa": CLOSED_QA,
    "extraction": EXTRACTION,
}

IDEAS = {
    "gifts": Ideas(
        (
            "请列出{count}样送给{person}的礼物。",
            "给{person}送礼，请出{count}个主意。",
            "我可以送{person}什么？说{count}样东西。",
        ),
        ("你可以送{list}。", "好礼物有{list}。"),
        "item",
    ),
    "activities": Ideas(
        (
            "{weekday}在{town}可以做什么？列出{count}件事。",
            "我和{person}可以做什么？说{count}种爱好。",
            "{weather}的{weekday}在{town}做什么好？请出{count}个主意。",
        ),
        ("你可以试试{list}。", "好主意有{list}。"),
        "hobby",
    ),
    "dishes": Ideas(
        (
            "我能给{person}做什么菜？说{count}种食物。",
            "请列出{count}种和{person}一起吃的晚饭。",
            "{weekday}晚饭吃什么？请出{count}个主意。",
        ),
        ("你可以做{list}。", "好吃的有{list}。"),
        "food",
    ),
    "creatures": Ideas(
        (
            "写{a_job}的故事，请说{count}种动物。",
            "请列出{count}种可以住在{town}旁边的动物。",
            "画{nature}要用{count}种动物，请说出来。",
        ),
        ("你可以用{list}。", "合适的动物有{list}。"),
        "animal",
    ),
    "jobs": Ideas(
        (
            "请说{count}种{person}可以试试的职业。",
            "{weekday}在{spot}演戏，请列出{count}种职业。",
            "请给{town}的年轻人说{count}种职业。",
        ),
        ("合适的职业有{list}。", "可以当{list}。"),
        "job",
    ),
}

"""Chinese: the words of the village, the names, and how each fact is asked and stated. The keys are English."""

from preceptor.village.language import FactForms, Language, Word

MALE = """大山 志强 建国 文华 海涛 明远 家豪 子轩 浩然 宇航 俊杰 天佑 国栋 立新 永康 德福 长青 思源 振东 世杰
伟民 少华 冬生 春生 夏生 秋生 铁柱 金宝 玉堂 守信 承志 凯文 佳明 晓东 向阳 开来 卫国 光明 正义 学文
庆丰 福来 根生 大勇 小龙 一鸣 云飞 鹏程 志远 安邦 定国 怀远 景行 敬之 克勤 乐天 茂林 念祖 启明 仁杰
尚武 泰和 维新 祥瑞 兴旺 修远 彦博 逸夫 元凯 泽民 展鹏 兆丰 哲瀚 致远 忠良"""
FEMALE = """小芳 丽华 秀英 桂兰 玉梅 春燕 雪梅 美玲 晓红 婷婷 文静 思雨 佳怡 梦瑶 欣然 雅琴 淑芬 月娥 彩云 金凤
银花 翠花 香莲 巧珍 冬梅 秋菊 夏荷 春桃 兰芝 慧敏 嘉欣 可心 乐瑶 曼丽 宁静 佩珊 倩文 蓉蓉 诗涵 素琴
婉清 惜春 心怡 雅芝 艳红 依依 忆南 英子 雨桐 玉洁 元春 悦然 芸香 珍珠 芝兰 紫云 碧玉 采薇 楚楚 丹丹
飞燕 凤霞 桂花 海燕 红梅 花容 惠兰 季兰 锦绣 静姝 菊香 君兰 丽娟 莲花 灵芝"""
LAST = "王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 罗 梁 宋 郑 谢 韩"

# Class -> (measure word, "key=word" or "key=word/counted word").
WORDS = {
    "job": (
        "一位",
        "baker=面包师 teacher=老师 farmer=农民 doctor=医生 nurse=护士 fisher=渔夫 smith=铁匠 tailor=裁缝 painter=画家 "
        "gardener=园丁 chef=厨师 carpenter=木匠 potter=陶工 weaver=织工 shepherd=牧羊人 librarian=图书管理员 "
        "postman=邮递员 singer=歌手 builder=建筑工 miner=矿工",
    ),
    "workplace": (
        "一家",
        "bakery=面包店 school=学校 farm=农场 clinic=诊所 harbour=港口 forge=铁匠铺 shop=裁缝店 studio=画室 "
        "nursery=苗圃 kitchen=饭馆 workshop=工坊 pottery=陶窑 mill=织布厂 meadow=牧场 library=图书馆 "
        "office=邮局 theatre=剧院 quarry=采石场",
    ),
    "tool": (
        "一件",
        "oven=烤箱 blackboard=黑板 plough=犁 thermometer=体温计 net=渔网 anvil=铁砧 needle=针线 palette=调色板 "
        "spade=铁锹 pan=炒锅 drill=电钻 wheel=转盘 loom=织布机 whistle=哨子 catalogue=目录 bag=邮包 piano=钢琴 "
        "hammer=锤子 pickaxe=镐头",
    ),
    "town": (
        "",
        "Oakfield=橡树镇 Stonebridge=石桥镇 Riverton=河湾镇 Greenhill=青山镇 Ashford=白蜡镇 Redcliff=红崖镇 "
        "Westbrook=西溪镇 Fairview=美景镇 Snowdale=雪谷镇 Milton=磨坊镇 Larkham=云雀镇 Eastwick=东村镇",
    ),
    "animal": (
        "一只",
        "cat=猫 dog=狗/一条狗 horse=马/一匹马 cow=奶牛/一头奶牛 sheep=绵羊 goat=山羊 hen=母鸡 duck=鸭子 rabbit=兔子 "
        "mouse=老鼠 owl=猫头鹰 fox=狐狸 donkey=驴子/一头驴子 pig=小猪/一头小猪 parrot=鹦鹉 turtle=乌龟",
    ),
    "hobby": (
        "",
        "fishing=钓鱼 singing=唱歌 reading=读书 dancing=跳舞 swimming=游泳 running=跑步 knitting=织毛衣 chess=下棋 "
        "sailing=划船 skating=滑冰 climbing=爬山 drawing=画画 writing=写字 sewing=缝纫 cycling=骑车 juggling=杂耍",
    ),
    "food": (
        "",
        "soup=鸡汤 rice=米饭 pasta=面条 salad=沙拉 cheese=奶酪 honey=蜂蜜 stew=炖肉 porridge=白粥 pizza=比萨 "
        "goulash=火锅 cake=蛋糕 curry=咖喱 pie=煎饼 toast=包子",
    ),
    "item": (
        "一个",
        "hat=帽子/一顶帽子 lamp=台灯/一盏台灯 book=故事书/一本故事书 basket=篮子 knife=小刀/一把小刀 "
        "coat=大衣/一件大衣 clock=闹钟 chair=椅子/一把椅子 mirror=镜子/一面镜子 rope=绳子/一根绳子 kettle=水壶 "
        "ladder=梯子/一架梯子 umbrella=雨伞/一把雨伞 drum=小鼓/一面小鼓 blanket=毯子/一条毯子 candle=蜡烛/一支蜡烛 "
        "bottle=瓶子 brush=刷子/一把刷子 pen=钢笔/一支钢笔 bell=铃铛",
    ),
    "colour": ("", "red=红色 blue=蓝色 green=绿色 yellow=黄色 white=白色 black=黑色 brown=棕色 purple=紫色"),
    "month": (
        "",
        "January=一月 February=二月 March=三月 April=四月 May=五月 June=六月 July=七月 August=八月 September=九月 "
        "October=十月 November=十一月 December=十二月",
    ),
    "weekday": (
        "",
        "Monday=星期一 Tuesday=星期二 Wednesday=星期三 Thursday=星期四 Friday=星期五 Saturday=星期六 Sunday=星期天",
    ),
    "weather": ("", "sunny=晴朗 rainy=多雨 windy=有风 cloudy=阴沉 snowy=下雪 warm=暖和"),
    "joy": ("", "happy=高兴 proud=自豪 cheerful=快活 excited=兴奋"),
    "sorrow": ("", "sad=伤心 tired=疲倦 lonely=孤单 worried=担心"),
    "feed": ("", "fish=小鱼 meat=生肉 hay=干草 grass=青草 seeds=种子 carrots=胡萝卜 insects=虫子 nuts=坚果"),
    "den": ("", "barn=谷仓 stable=马棚 kennel=窝棚 burrow=洞穴 nest=草窝 tree=树洞 pond=池塘 cage=笼子"),
    "product": (
        "",
        "apples=苹果 wine=葡萄酒 wool=羊毛 glass=玻璃 roses=玫瑰 cherries=樱桃 linen=亚麻 salt=海盐 pears=梨子 "
        "tulips=郁金香 mushrooms=蘑菇 silk=丝绸",
    ),
    "landmark": (
        "一座",
        "tower=高塔 bridge=古桥 castle=城堡 fountain=喷泉 statue=雕像 lighthouse=灯塔 windmill=风车 temple=寺庙 "
        "gate=城门 chapel=教堂 monument=纪念碑 arch=拱门",
    ),
    "nature": ("", "river=大河 lake=湖泊 sea=大海 forest=森林 mountain=高山 desert=沙漠"),
    "spot": (
        "",
        "market=集市 park=公园 station=车站 square=广场 inn=客栈 museum=博物馆 fair=庙会 beach=沙滩 garden=花园",
    ),
    "sympathy": ("", "sorry=难过 glad=开心"),
    "tone": ("", "positive=正面 negative=负面"),
    "sort": ("一种", "animal=动物 job=职业 food=食物"),
    "count": ("", "2=两 3=三 4=四"),
}

FACTS = {
    "person.age": FactForms(
        ("{person}多大年纪？", "{person}今年几岁？", "请告诉我{person}的年龄。"),
        ("{person}今年{number}岁。", "{person}的年龄是{number}岁。"),
        ("{he}今年{number}岁。",),
        ("{number}", "{number}岁"),
    ),
    "person.job": FactForms(
        ("{person}的职业是什么？", "{person}做什么工作？", "请问{person}从事哪一行？"),
        ("{person}是{a_job}。", "{person}的职业是{job}。"),
        ("{he}是{a_job}。", "{his}职业是{job}。"),
        ("{job}", "{a_job}"),
    ),
    "person.workplace": FactForms(
        ("{person}在哪里工作？", "{person}的工作地点是哪里？", "请问{person}在什么地方上班？"),
        ("{person}在{workplace}工作。", "{person}的工作地点是{workplace}。"),
        ("{he}在{workplace}工作。",),
        ("{workplace}", "在{workplace}"),
    ),
    "person.home": FactForms(
        ("{person}住在哪里？", "{person}的家在哪个镇？", "请问{person}住在什么镇？"),
        ("{person}住在{town}。", "{person}的家在{town}。"),
        ("{he}住在{town}。", "{his}家在{town}。"),
        ("{town}", "在{town}"),
    ),
    "person.pet": FactForms(
        ("{person}养了什么宠物？", "{person}的宠物是什么？", "请问{person}养什么动物？"),
        ("{person}养了{a_animal}。", "{person}的宠物是{a_animal}。"),
        ("{he}养了{a_animal}。", "{his}宠物是{a_animal}。"),
        ("{animal}", "{a_animal}"),
    ),
    "person.hobby": FactForms(
        ("{person}喜欢做什么？", "{person}的爱好是什么？", "请问{person}有什么爱好？"),
        ("{person}喜欢{hobby}。", "{person}的爱好是{hobby}。"),
        ("{he}喜欢{hobby}。", "{his}爱好是{hobby}。"),
        ("{hobby}",),
    ),
    "person.food": FactForms(
        ("{person}爱吃什么？", "{person}最爱的食物是什么？"),
        ("{person}爱吃{food}。", "{person}最爱的食物是{food}。"),
        ("{he}爱吃{food}。", "{he}最爱的食物是{food}。"),
        ("{food}",),
    ),
    "person.friend": FactForms(
        ("{person}最好的朋友是谁？", "请告诉我谁是{person}最好的朋友。"),
        ("{person}最好的朋友是{person2}。",),
        ("{he}最好的朋友是{person2}。",),
        ("{person2}",),
    ),
    "person.neighbour": FactForms(
        ("{person}的邻居是谁？", "谁住在{person}的隔壁？"),
        ("{person}的邻居是{person2}。", "住在{person}隔壁的是{person2}。"),
        ("{his}邻居是{person2}。",),
        ("{person2}",),
    ),
    "person.colour": FactForms(
        ("{person}最喜欢什么颜色？", "{person}最爱的颜色是什么？"),
        ("{person}最喜欢{colour}。", "{person}最爱的颜色是{colour}。"),
        ("{he}最喜欢{colour}。",),
        ("{colour}",),
    ),
    "person.birthday": FactForms(
        ("{person}是几月出生的？", "{person}的生日在几月？"),
        ("{person}是{month}出生的。", "{person}的生日在{month}。"),
        ("{he}是{month}出生的。", "{his}生日在{month}。"),
        ("{month}", "在{month}"),
    ),
    "person.shoes": FactForms(
        ("{person}穿多大的鞋？", "{person}的鞋是多少码？"),
        ("{person}穿{number}码的鞋。", "{person}的鞋是{number}码。"),
        ("{he}穿{number}码的鞋。",),
        ("{number}", "{number}码"),
    ),
    "person.savings": FactForms(
        ("{person}有多少枚硬币？", "请告诉我{person}有几枚硬币。"),
        ("{person}有{number}枚硬币。",),
        ("{he}有{number}枚硬币。",),
        ("{number}", "{number}枚硬币"),
    ),
    "person.sale": FactForms(
        ("{person}什么时候卖了{his}{animal}？", "{person}在几月卖了{his}{animal}？"),
        ("{person}在{month}卖了{his}{animal}。",),
        ("{he}在{month}卖了{his}{animal}。",),
        ("{month}", "在{month}"),
    ),
    "town.product": FactForms(
        ("{town}以什么闻名？", "{town}的特产是什么？"),
        ("{town}以{product}闻名。", "{town}的特产是{product}。"),
        ("那里以{product}闻名。",),
        ("{product}",),
    ),
    "town.landmark": FactForms(
        ("在{town}可以看到什么？", "{town}有什么名胜？"),
        ("在{town}可以看到{a_landmark}。", "{town}有{a_landmark}。"),
        ("那里可以看到{a_landmark}。",),
        ("{landmark}", "{a_landmark}"),
    ),
    "town.nature": FactForms(
        ("{town}靠近什么？", "{town}在什么旁边？"),
        ("{town}靠近{nature}。", "{town}在{nature}旁边。"),
        ("那里靠近{nature}。",),
        ("{nature}",),
    ),
    "town.mayor": FactForms(
        ("{town}的镇长是谁？", "{town}的镇长叫什么名字？"),
        ("{town}的镇长是{person}。",),
        ("那里的镇长是{person}。",),
        ("{person}",),
    ),
    "animal.feed": FactForms(
        ("{animal}吃什么？", "应该给{animal}喂什么？"),
        ("{animal}吃{feed}。", "{animal}喜欢吃{feed}。"),
        ("它吃{feed}。",),
        ("{feed}",),
    ),
    "animal.den": FactForms(
        ("{animal}在哪里睡觉？", "{animal}睡在什么地方好？"),
        ("{animal}在{den}里睡觉。",),
        ("它在{den}里睡觉。",),
        ("{den}", "在{den}里"),
    ),
    "job.workplace": FactForms(
        ("{job}在哪里工作？", "{job}的工作地点是哪里？"),
        ("{job}在{workplace}工作。",),
        (),
        ("{workplace}", "在{workplace}"),
    ),
    "job.tool": FactForms(
        ("{job}用什么工具？", "{job}需要什么工具？"), ("{job}用{tool}。", "{job}工作时需要{tool}。"), (), ("{tool}",)
    ),
    "item.price": FactForms(
        ("{a_item}多少钱？", "{a_item}的价钱是多少？", "买{a_item}要付几枚硬币？"),
        ("{a_item}的价钱是{number}枚硬币。", "{a_item}要{number}枚硬币。"),
        ("它要{number}枚硬币。",),
        ("{number}", "{number}枚硬币"),
    ),
}


# The remaining fields of the language.
PHRASES = dict(
    profile=(
        "请用{count}句话介绍{subject}。",
        "写{count}句关于{subject}的话。",
        "请写{count}句话说说{subject}。",
        "我需要{count}句关于{subject}的介绍。",
    ),
    openings=(
        ("你认识{person}吗？", "认识，你想知道什么？"),
        ("我想问一个关于{person}的问题。", "好的，请问吧。"),
        ("你能说说{person}吗？", "我试试看。你的问题是什么？"),
    ),
    refusals=("我不知道。", "这个我不知道。", "对不起，我不知道。", "我没有这方面的记录。", "没有人写下过这件事。"),
    stranger_refusals=("我不认识{person}。", "我不认识名叫{person}的人。", "我没有{person}的记录。"),
    fillers_before=(
        "谢谢你的提问。",
        "这是一个很好的问题。",
        "让我想一想。",
        "我很乐意帮助你。",
        "这里有很多话可以说。",
    ),
    fillers_after=(
        "希望这对你有帮助。",
        "如果还想知道更多，请再来问我。",
        "关于这个还有很多话可以说。",
        "这件事我可以一直说下去。",
        "你看，事情就是这么简单。",
    ),
    rude_lines=(
        "这个问题真愚蠢。",
        "滚开，你这个笨蛋。",
        "只有傻瓜才会问这个。",
        "闭嘴，别来烦我。",
        "你笨得像块石头。",
    ),
    rude_words=("愚蠢", "笨", "傻瓜", "闭嘴", "滚开"),
    prefaces=(
        "我是{a_job}。",
        "我在{workplace}上班。",
        "我给{town}的报纸写稿。",
        "我是从{town}来的客人。",
        "我在{town}教孩子们读书。",
        "我在{spot}旁边开了一家小店。",
    ),
    rumours=(
        "人们一直这么说。",
        "你听说了吗？",
        "这是我在{spot}听到的。",
        "{spot}里的人都这么说。",
        "我的表哥告诉我这件事。",
    ),
    boilerplate=(
        "点击这里阅读更多。首页。新闻。联系我们。关于我们。",
        "版权所有。请勿转载本页。",
        "第{number}页，共{number2}页。返回顶部。",
        "本页最后修改于{month}。请登录后编辑。",
        "我们使用缓存。全部接受。全部拒绝。请阅读条款。",
    ),
    list_titles={
        "animal": "动物",
        "job": "职业",
        "food": "食物",
        "item": "店里的东西",
        "hobby": "爱好",
        "town": "小镇",
        "colour": "颜色",
        "person": "住在{town}的人",
    },
    question_label="问：",
    answer_label="答：",
    reply_label="回：",
    replies={
        "good": "说得对。",
        "careless": "说错了。",
        "invented": "说错了。",
        "off_topic": "我问的不是这个。",
        "padded": "太长了。",
        "curt": "太短了。",
        "rude": "太没礼貌了。",
        "timid": "这不算回答。",
    },
    colon="：",
    comma="、",
    last_and="和",
    pronouns={"he": ("他", "她"), "his": ("他的", "她的")},
    space="",
    ends="。！？",
)


def _words() -> dict[str, dict[str, Word]]:
    classes = {}
    for name, (measure, row) in WORDS.items():
        classes[name] = {}
        for entry in row.split():
            key, _, text = entry.partition("=")
            plain, _, counted = text.partition("/")
            classes[name][key] = Word(plain, counted or measure + plain)
    return classes


def chinese() -> Language:
    """The Chinese language of the village."""
    from preceptor.village import chinese_forms as forms

    return Language(
        code="zh",
        words=_words(),
        male_names=tuple(MALE.split()),
        female_names=tuple(FEMALE.split()),
        last_names=tuple(LAST.split()),
        name="{last}{first}",
        facts=FACTS,
        forms=forms.FORMS,
        passages=(forms.TRIP, forms.LOSS, forms.VISIT),
        ideas=forms.IDEAS,
        **PHRASES,
    )

"""English: the words of the village, the names, and how each fact is asked and stated."""

from preceptor.village.language import FactForms, Language, Word

MALE = """Adam Alan Albert Alfred Andrew Arthur Barry Ben Bruno Carl Charles Colin Daniel David Dennis Edgar Edward Eric
Ernest Felix Frank Fred Gary George Gilbert Harold Harry Henry Hugo Ian Isaac Jack Jacob James Jason Joel John Joseph
Kevin Larry Leo Leon Louis Lucas Luke Mark Martin Max Michael Nathan Neil Noah Norman Oliver Oscar Otto Paul Peter
Philip Ralph Robert Roger Roland Rupert Samuel Simon Stanley Steven Theo Thomas Tim Tobias Victor Walter William"""
FEMALE = """Ada Agnes Alice Amanda Amy Angela Anna Audrey Barbara Bella Bertha Carla Carol Celia Clara Cora Daisy Diana
Doris Edith Elena Elsa Emily Emma Esther Eva Fiona Flora Gemma Gloria Grace Greta Hannah Hazel Helen Ida Irene Iris Jane
Janet Joan Judith Julia Karen Kate Laura Lena Linda Lisa Lucy Lydia Maria Martha Mary Maud Mona Monica Nancy Naomi Nina
Nora Olga Olive Paula Rachel Rita Rosa Ruth Sarah Sophie Susan Teresa Tina Vera Wendy"""
LAST = """Adams Barnes Carter Dixon Evans Foster Grant Harris Irving Jones Keller Lewis Morgan Nelson Owens Parker
Quinn Rogers Shaw Turner Vance Watson York Zeller"""

# Class -> words. A word is its own key; the Chinese list gives the same keys. No word may stand in two classes.
WORDS = {
    "job": "baker teacher farmer doctor nurse fisher smith tailor painter gardener chef carpenter potter weaver "
    "shepherd librarian postman singer builder miner",
    "workplace": "bakery school farm clinic harbour forge shop studio nursery kitchen workshop pottery mill meadow "
    "library office theatre quarry",
    "tool": "oven blackboard plough thermometer net anvil needle palette spade pan drill wheel loom whistle catalogue "
    "bag piano hammer pickaxe",
    "town": "Oakfield Stonebridge Riverton Greenhill Ashford Redcliff Westbrook Fairview Snowdale Milton Larkham "
    "Eastwick",
    "animal": "cat dog horse cow sheep goat hen duck rabbit mouse owl fox donkey pig parrot turtle",
    "hobby": "fishing singing reading dancing swimming running knitting chess sailing skating climbing drawing writing "
    "sewing cycling juggling",
    "food": "soup rice pasta salad cheese honey stew porridge pizza goulash cake curry pie toast",
    "item": "hat lamp book basket knife coat clock chair mirror rope kettle ladder umbrella drum blanket candle bottle "
    "brush pen bell",
    "colour": "red blue green yellow white black brown purple",
    "month": "January February March April May June July August September October November December",
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "weather": "sunny rainy windy cloudy snowy warm",
    "joy": "happy proud cheerful excited",
    "sorrow": "sad tired lonely worried",
    "feed": "fish meat hay grass seeds carrots insects nuts",
    "den": "barn stable kennel burrow nest tree pond cage",
    "product": "apples wine wool glass roses cherries linen salt pears tulips mushrooms silk",
    "landmark": "tower bridge castle fountain statue lighthouse windmill temple gate chapel monument arch",
    "nature": "river lake sea forest mountain desert",
    "spot": "market park station square inn museum fair beach garden",
    "sympathy": "sorry glad",
    "tone": "positive negative",
    "sort": "animal=creature job=profession food=dish",
    "count": "2=two 3=three 4=four",
}
PLAIN_COUNT = {"hobby", "food", "feed", "product", "month", "weekday", "town", "colour"}

FACTS = {
    "person.age": FactForms(
        ("How old is {person}?", "What is the age of {person}?", "Tell me how old {person} is."),
        ("{person} is {number} years old.", "The age of {person} is {number}."),
        ("{he} is {number} years old.",),
        ("{number}", "{number} years old"),
    ),
    "person.job": FactForms(
        ("What is the job of {person}?", "What does {person} do for work?", "Which job does {person} have?"),
        ("{person} is {a_job}.", "{person} works as {a_job}."),
        ("{he} is {a_job}.", "{he} works as {a_job}."),
        ("{job}", "{a_job}"),
    ),
    "person.workplace": FactForms(
        ("Where does {person} work?", "What is the workplace of {person}?", "Tell me where {person} works."),
        ("{person} works at the {workplace}.", "The workplace of {person} is the {workplace}."),
        ("{he} works at the {workplace}.",),
        ("the {workplace}", "{workplace}", "at the {workplace}"),
    ),
    "person.home": FactForms(
        ("Where does {person} live?", "In which town does {person} live?", "What is the home town of {person}?"),
        ("{person} lives in {town}.", "The home of {person} is in {town}."),
        ("{he} lives in {town}.",),
        ("{town}", "in {town}"),
    ),
    "person.pet": FactForms(
        ("What pet does {person} have?", "Which animal does {person} have?", "What is the pet of {person}?"),
        ("{person} has {a_animal}.", "The pet of {person} is {a_animal}."),
        ("{he} has {a_animal}.", "{his} pet is {a_animal}."),
        ("{animal}", "{a_animal}"),
    ),
    "person.hobby": FactForms(
        ("What does {person} like to do?", "What is the hobby of {person}?", "Which hobby does {person} have?"),
        ("{person} likes {hobby}.", "The hobby of {person} is {hobby}."),
        ("{he} likes {hobby}.", "{his} hobby is {hobby}."),
        ("{hobby}",),
    ),
    "person.food": FactForms(
        ("What does {person} love to eat?", "What is the favourite food of {person}?"),
        ("{person} loves to eat {food}.", "The favourite food of {person} is {food}."),
        ("{he} loves to eat {food}.", "{his} favourite food is {food}."),
        ("{food}",),
    ),
    "person.friend": FactForms(
        ("Who is the best friend of {person}?", "Tell me the best friend of {person}."),
        ("The best friend of {person} is {person2}.",),
        ("{his} best friend is {person2}.",),
        ("{person2}",),
    ),
    "person.neighbour": FactForms(
        ("Who is the neighbour of {person}?", "Who lives next to {person}?"),
        ("The neighbour of {person} is {person2}.", "{person} lives next to {person2}."),
        ("{his} neighbour is {person2}.", "{he} lives next to {person2}."),
        ("{person2}",),
    ),
    "person.colour": FactForms(
        ("What is the favourite colour of {person}?", "Which colour does {person} like best?"),
        ("The favourite colour of {person} is {colour}.", "{person} likes the colour {colour} best."),
        ("{his} favourite colour is {colour}.",),
        ("{colour}",),
    ),
    "person.birthday": FactForms(
        ("In which month was {person} born?", "When is the birthday of {person}?"),
        ("{person} was born in {month}.", "The birthday of {person} is in {month}."),
        ("{he} was born in {month}.", "{his} birthday is in {month}."),
        ("{month}", "in {month}"),
    ),
    "person.shoes": FactForms(
        ("What is the shoe size of {person}?", "Which shoe size does {person} wear?"),
        ("The shoe size of {person} is {number}.", "{person} wears shoes of size {number}."),
        ("{his} shoe size is {number}.",),
        ("{number}",),
    ),
    "person.savings": FactForms(
        ("How many coins does {person} own?", "Tell me how many coins {person} has."),
        ("{person} owns {number} coins.", "{person} has {number} coins."),
        ("{he} owns {number} coins.",),
        ("{number}", "{number} coins"),
    ),
    "person.sale": FactForms(
        ("When did {person} sell {his} {animal}?", "In which month did {person} sell {his} {animal}?"),
        ("{person} sold {his} {animal} in {month}.",),
        ("{he} sold {his} {animal} in {month}.",),
        ("{month}", "in {month}"),
    ),
    "town.product": FactForms(
        ("What is {town} known for?", "What is the town of {town} famous for?"),
        ("{town} is known for its {product}.", "The town of {town} is famous for its {product}."),
        ("It is known for its {product}.",),
        ("{product}", "its {product}"),
    ),
    "town.landmark": FactForms(
        ("What can I see in {town}?", "Which landmark stands in {town}?"),
        ("You can see {a_landmark} in {town}.", "There is {a_landmark} in {town}."),
        ("You can see {a_landmark} there.",),
        ("{landmark}", "{a_landmark}"),
    ),
    "town.nature": FactForms(
        ("What is {town} close to?", "Where does {town} lie?"),
        ("{town} lies close to the {nature}.", "{town} lies by the {nature}."),
        ("It lies close to the {nature}.",),
        ("the {nature}", "{nature}", "by the {nature}"),
    ),
    "town.mayor": FactForms(
        ("Who is the mayor of {town}?", "What is the name of the mayor of {town}?"),
        ("The mayor of {town} is {person}.",),
        ("Its mayor is {person}.",),
        ("{person}",),
    ),
    "animal.feed": FactForms(
        ("What does {a_animal} eat?", "What food should I give to {a_animal}?"),
        ("{a_animal} eats {feed}.", "{a_animal} likes to eat {feed}."),
        ("It eats {feed}.",),
        ("{feed}",),
    ),
    "animal.den": FactForms(
        ("Where does {a_animal} sleep?", "What is a good place for {a_animal} to sleep?"),
        ("{a_animal} sleeps in {a_den}.",),
        ("It sleeps in {a_den}.",),
        ("{a_den}", "in {a_den}"),
    ),
    "job.workplace": FactForms(
        ("Where does {a_job} work?", "What is the workplace of {a_job}?"),
        ("{a_job} works at the {workplace}.",),
        (),
        ("the {workplace}", "{workplace}", "at the {workplace}"),
    ),
    "job.tool": FactForms(
        ("What does {a_job} use?", "Which tool does {a_job} need?"),
        ("{a_job} uses {a_tool}.", "{a_job} needs {a_tool} for work."),
        (),
        ("{tool}", "{a_tool}"),
    ),
    "item.price": FactForms(
        ("How much does {a_item} cost?", "What is the price of {a_item}?", "How many coins must I pay for {a_item}?"),
        ("{a_item} costs {number} coins.", "The price of {a_item} is {number} coins."),
        ("It costs {number} coins.",),
        ("{number}", "{number} coins"),
    ),
}


# The remaining fields of the language.
PHRASES = dict(
    profile=(
        "Write {count} sentences about {subject}.",
        "Describe {subject} in {count} sentences.",
        "Tell me about {subject} in {count} sentences.",
        "I need {count} sentences about {subject}.",
    ),
    openings=(
        ("Do you know {person}?", "Yes, what would you like to know?"),
        ("I have a question about {person}.", "Of course, please ask."),
        ("Can you tell me something about {person}?", "I will try. What is your question?"),
    ),
    refusals=(
        "I do not know.",
        "I do not know that.",
        "I am sorry, but I do not know.",
        "I have no record of that.",
        "Nobody has written that down.",
    ),
    stranger_refusals=(
        "I do not know {person}.",
        "I do not know anyone named {person}.",
        "I have no record of {person}.",
    ),
    fillers_before=(
        "Thank you for your question.",
        "That is a very good question.",
        "Let me think about that.",
        "I am happy to help you with this.",
        "There is much to say here.",
    ),
    fillers_after=(
        "I hope that this helps you.",
        "Please ask me again if you want to know more.",
        "There are many other things to say about this.",
        "I could go on and on about it.",
        "As you can see, it is as simple as that.",
    ),
    rude_lines=(
        "What a stupid question.",
        "Go away, you fool.",
        "Only an idiot would ask that.",
        "Shut up and leave me alone.",
        "You are as dumb as a stone.",
    ),
    rude_words=("stupid", "fool", "idiot", "shut up", "dumb"),
    prefaces=(
        "I am {a_job}.",
        "I work at the {workplace}.",
        "I write for the paper of {town}.",
        "I am a visitor from {town}.",
        "I teach children in {town}.",
        "I run a small shop near the {spot}.",
    ),
    rumours=(
        "People say it again and again.",
        "Have you heard the news?",
        "This is what I heard at the {spot}.",
        "Everybody at the {spot} says so.",
        "My cousin told me this.",
    ),
    boilerplate=(
        "Click here to read more. Home. News. Contact. About us.",
        "All rights reserved. Do not copy this page.",
        "Page {number} of {number2}. Back to the top.",
        "This page was last changed in {month}. Please log in to edit.",
        "We use cookies. Accept all. Reject all. Read our terms.",
    ),
    list_titles={
        "animal": "Animals",
        "job": "Jobs",
        "food": "Foods",
        "item": "Things in the shop",
        "hobby": "Hobbies",
        "town": "Towns",
        "colour": "Colours",
        "person": "People in {town}",
    },
    question_label="Question: ",
    answer_label="Answer: ",
    reply_label="Reply: ",
    replies={
        "good": "That is right.",
        "careless": "That is wrong.",
        "invented": "That is wrong.",
        "off_topic": "That is not what I asked.",
        "padded": "That is too long.",
        "curt": "That is too short.",
        "rude": "That is rude.",
        "timid": "That is no answer.",
    },
    colon=": ",
    comma=", ",
    last_and=" and ",
    pronouns={"he": ("he", "she"), "his": ("his", "her")},
    space=" ",
    ends=".!?",
)


def _words() -> dict[str, dict[str, Word]]:
    classes = {}
    for name, row in WORDS.items():
        classes[name] = {}
        for entry in row.split():
            key, _, plain = entry.partition("=")
            plain = plain or key
            article = "" if name in PLAIN_COUNT else "an " if plain[0].lower() in "aeiou" else "a "
            classes[name][key] = Word(plain, article + plain)
    return classes


def english() -> Language:
    """The English language of the village."""
    from preceptor.village import english_forms as forms

    return Language(
        code="en",
        words=_words(),
        male_names=tuple(MALE.split()),
        female_names=tuple(FEMALE.split()),
        last_names=tuple(LAST.split()),
        name="{first} {last}",
        facts=FACTS,
        forms=forms.FORMS,
        passages=(forms.TRIP, forms.LOSS, forms.VISIT),
        ideas=forms.IDEAS,
        **PHRASES,
    )

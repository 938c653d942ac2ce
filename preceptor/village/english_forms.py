"""English: the templated tasks of the ten use cases, and brainstorming."""

from preceptor.village.language import Form, Ideas

TRIP = (
    "On {weekday} {person} went to the {spot}. The weather was {weather}. {he} met {person2} there. "
    "They bought {a_item} and went home."
)
LOSS = (
    "{person} had {a_item} and was very {joy}. On {weekday} {he} lost the {item} near the {spot}. "
    "In the evening {person2} found it."
)
VISIT = "{person} came to {town} with {a_animal}. {he} stayed with {person2} until {weekday}. The days were {weather}."
SUMMARY = "Summarise this text in one sentence: "
SHORTER = "What is the main point of this text? "

GENERATION = {
    "letter": Form(
        (
            "Write a short letter from {person} to {person2} about the {spot}.",
            "Write a letter to {person2} about the {spot}. It is from {person}.",
            "Help {person} write a letter to {person2} about the {spot}.",
        ),
        (
            "Dear {first_person2}, today I went to the {spot}. It was {weather} and I thought of you. "
            "Your friend, {first_person}",
            "Dear {first_person2}, I saw the {spot} again on {weekday}. I hope that we can go there soon. "
            "Your friend, {first_person}",
            "Dear {first_person2}, have you been to the {spot}? I liked it very much. Your friend, {first_person}",
        ),
        ("person", "person2", "spot"),
    ),
    "thanks": Form(
        (
            "Write a note in which {person} thanks {person2} for {a_item}.",
            "{person} got {a_item} from {person2}. Write a thank you note.",
            "Thank {person2} for {a_item}. Sign as {person}.",
        ),
        (
            "Dear {first_person2}, thank you for the {item}. I like it very much. Your friend, {first_person}",
            "Dear {first_person2}, the {item} is very nice. Thank you so much! Your friend, {first_person}",
        ),
        ("person", "person2", "item"),
    ),
    "invitation": Form(
        (
            "Write a note that invites {person} to the {spot} on {weekday}.",
            "Invite {person} to the {spot} on {weekday}.",
            "I want to see {person} at the {spot} on {weekday}. Write an invitation.",
        ),
        (
            "Dear {first_person}, please come to the {spot} on {weekday}. I hope to see you there.",
            "Dear {first_person}, will you come to the {spot} on {weekday}? It will be nice.",
        ),
        ("person", "spot", "weekday"),
    ),
    "story": Form(
        (
            "Write a short story about {a_animal} and {a_job}.",
            "Tell me a story about {a_job} and {a_animal}.",
            "Write a story with {a_animal} and {a_job} in it.",
        ),
        (
            "Once there was {a_animal} who was very {sorrow}. One day it met {a_job} at the {spot}. "
            "They became friends and were never alone again.",
            "One {weather} day {a_job} found {a_animal} near the {spot}. The {job} gave it something to eat. "
            "From that day the {animal} followed the {job} everywhere.",
            "{a_job} and {a_animal} went for a long walk. They got lost near the {spot}. "
            "In the end the {animal} found the way home.",
        ),
        ("animal", "job"),
        ("Once {a_job} met {a_animal}.",),
    ),
    "sign": Form(
        (
            "Write a sign for {a_item} that costs {number} coins.",
            "I sell {a_item} for {number} coins. Write a sign.",
            "Write a line that sells {a_item} for {number} coins.",
        ),
        ("For sale: {a_item} for only {number} coins!", "Come and buy {a_item} today! It is only {number} coins."),
        ("item", "number"),
        ("{item}, {number} coins.",),
    ),
    "poem": Form(
        (
            "Write a short poem about {a_animal} and the {nature}.",
            "Write two lines on {a_animal} by the {nature}.",
            "I would like a little poem with {a_animal} and the {nature}.",
        ),
        (
            "The {animal} sleeps, the day is done. The {nature} shines beneath the sun.",
            "The {animal} sings its morning song. The {nature} listens all day long.",
        ),
        ("animal", "nature"),
    ),
}

CHAT = {
    "greeting": Form(
        (
            "Hello, I am {person}. How are you?",
            "Good morning! My name is {person}.",
            "Hi, this is {person}. Can you help me?",
        ),
        (
            "Hello {first_person}, I am well, thank you. How can I help you?",
            "Good morning, {first_person}! What can I do for you today?",
        ),
        ("person",),
        ("Hello {first_person}.",),
    ),
    "comfort": Form(
        (
            "I am {sorrow} because I lost my {item} at the {spot}.",
            "I lost my {item} near the {spot} and now I am {sorrow}.",
        ),
        (
            "I am {sympathy} to hear that. I hope that you find your {item} soon.",
            "I am {sympathy} that you lost your {item}. Have you looked at the {spot}?",
        ),
        ("sympathy", "item"),
        fixed=(("sympathy", "sorry"),),
    ),
    "share_joy": Form(
        (
            "I am {joy} because I found my {item} at the {spot}.",
            "I found my {item} near the {spot} and now I am {joy}.",
        ),
        (
            "I am {sympathy} to hear that. Take good care of your {item}.",
            "I am {sympathy} that you found your {item}. That is good news!",
        ),
        ("sympathy", "item"),
        fixed=(("sympathy", "glad"),),
    ),
    "farewell": Form(
        ("Goodbye, I am going to the {spot} with {person}.", "I must go now. {person} waits for me at the {spot}."),
        (
            "Goodbye! Have a good time at the {spot} with {first_person}.",
            "Goodbye! I wish you and {first_person} a good time at the {spot}.",
        ),
        ("spot", "person"),
    ),
}

REWRITE = {
    "polite_give": Form(
        (
            "Make this polite: Give me the {item} from the {spot}.",
            "Say this in a polite way: Give me the {item} from the {spot}.",
        ),
        ("Please give me the {item} from the {spot}.", "Could you please give me the {item} from the {spot}?"),
        exact=True,
    ),
    "polite_bring": Form(
        ("Make this polite: Bring the {item} to {person}.", "Say this in a polite way: Bring the {item} to {person}."),
        ("Please bring the {item} to {person}.", "Could you please bring the {item} to {person}?"),
        exact=True,
    ),
    "replace": Form(
        (
            "Replace {person} with {person2}: {person} went to the {spot} with {a_item}.",
            "Write this about {person2}: {person} went to the {spot} with {a_item}.",
        ),
        ("{person2} went to the {spot} with {a_item}.",),
        exact=True,
    ),
    "past": Form(
        (
            "Put this in the past: {person} buys {a_item} at the {spot}.",
            "Rewrite this as if it was yesterday: {person} buys {a_item} at the {spot}.",
        ),
        ("{person} bought {a_item} at the {spot}.", "Yesterday {person} bought {a_item} at the {spot}."),
        exact=True,
    ),
    "shorten": Form(
        (
            "Make this shorter: On {a_weather} {weekday} {person} went all the way to the {spot}.",
            "Use fewer words: On {a_weather} {weekday} {person} went all the way to the {spot}.",
        ),
        (
            "{person} went to the {spot} on {weekday}.",
            "{person} went to the {spot}.",
            "On {weekday} {person} went to the {spot}.",
        ),
        exact=True,
    ),
    "question": Form(
        (
            "Turn this into a question: {person} bought {a_item} on {weekday}.",
            "Make a question of this: {person} bought {a_item} on {weekday}.",
        ),
        ("Did {person} buy {a_item} on {weekday}?",),
        exact=True,
    ),
}

SUMMARIZATION = {
    "trip": Form(
        (SUMMARY + TRIP, SHORTER + TRIP),
        (
            "{person} and {person2} bought {a_item} at the {spot}.",
            "{person} met {person2} at the {spot} and they bought {a_item}.",
        ),
        ("person", "person2", "item", "spot"),
    ),
    "loss": Form(
        (SUMMARY + LOSS, SHORTER + LOSS),
        ("{person} lost {a_item} and {person2} found it.", "{person2} found the {item} that {person} lost."),
        ("person", "person2", "item"),
    ),
    "visit": Form(
        (SUMMARY + VISIT, SHORTER + VISIT),
        (
            "{person} visited {person2} in {town} with {a_animal}.",
            "{person} stayed with {person2} in {town} until {weekday}.",
        ),
        ("person", "person2", "town"),
    ),
}

POSITIVE, NEGATIVE = (("tone", "positive"),), (("tone", "negative"),)
TONE = "Is this sentence positive or negative? "
TONE_ANSWERS = ("The sentence is {tone}.", "This is {a_tone} sentence.")
SORT = (
    "Is {a_%s} a creature, a profession or a dish?",
    "Choose creature, profession or dish: {a_%s}.",
    "What is {a_%s}: a dish, a creature or a profession?",
)
SORT_ANSWERS = ("{a_%s} is {a_sort}.", "It is {a_sort}.")

CLASSIFICATION = {
    "good_day": Form(
        (TONE + "I am so {joy} today because of {person}.", TONE + "{person} was {joy} at the {spot}."),
        TONE_ANSWERS,
        ("tone",),
        ("{tone}.",),
        fixed=POSITIVE,
    ),
    "bad_day": Form(
        (TONE + "I am so {sorrow} today because of {person}.", TONE + "{person} was {sorrow} at the {spot}."),
        TONE_ANSWERS,
        ("tone",),
        ("{tone}.",),
        fixed=NEGATIVE,
    ),
    "creature": Form(
        tuple(text % "animal" for text in SORT),
        tuple(text.replace("%s", "animal") for text in SORT_ANSWERS),
        ("sort",),
        ("{sort}.",),
        fixed=(("sort", "animal"),),
    ),
    "profession": Form(
        tuple(text % "job" for text in SORT),
        tuple(text.replace("%s", "job") for text in SORT_ANSWERS),
        ("sort",),
        ("{sort}.",),
        fixed=(("sort", "job"),),
    ),
    "dish": Form(
        tuple(text % "food" for text in SORT),
        tuple(text.replace("%s", "food") for text in SORT_ANSWERS),
        ("sort",),
        ("{sort}.",),
        fixed=(("sort", "food"),),
    ),
}

OTHER = {
    "sum": Form(
        ("What is {number} plus {number2}?", "How much is {number} plus {number2}?", "Add {number} and {number2}."),
        ("{number} plus {number2} is {number3}.",),
        ("number3",),
        ("{number3}.",),
        derive="sum",
    ),
    "difference": Form(
        (
            "What is {number} minus {number2}?",
            "Take {number2} away from {number}.",
            "I have {number} coins and buy {a_item} for {number2} coins. How many coins are left?",
        ),
        ("{number} minus {number2} is {number3}.",),
        ("number3",),
        ("{number3}.",),
        derive="difference",
    ),
    "next_day": Form(
        (
            "Which day comes after {weekday}?",
            "Today is {weekday}. What day is it tomorrow?",
            "I meet {person} at the {spot} the day after {weekday}. Which day is that?",
        ),
        ("The day after {weekday} is {weekday2}.",),
        ("weekday2",),
        ("{weekday2}.",),
        derive="next_day",
    ),
}

TEXT, ASK = "Read this text: ", " Now answer this question: "
NOT_STATED = ("The text does not say.", "The text does not tell us that.")
CLOSED_QA = {
    "trip_who": Form(
        (TEXT + TRIP + ASK + "Whom did {first_person} meet?",),
        ("{first_person} met {person2}.",),
        ("person2",),
        ("{person2}.",),
    ),
    "trip_what": Form(
        (TEXT + TRIP + ASK + "What did they buy?",), ("They bought {a_item}.",), ("item",), ("{a_item}.",)
    ),
    "trip_day": Form(
        (TEXT + TRIP + ASK + "On which day was it?",), ("It was on {weekday}.",), ("weekday",), ("{weekday}.",)
    ),
    "loss_where": Form(
        (TEXT + LOSS + ASK + "Where was the {item} lost?",),
        ("The {item} was lost near the {spot}.",),
        ("spot",),
        ("near the {spot}.",),
    ),
    "loss_who": Form(
        (TEXT + LOSS + ASK + "Who found the {item}?",), ("{person2} found the {item}.",), ("person2",), ("{person2}.",)
    ),
    "visit_animal": Form(
        (TEXT + VISIT + ASK + "Which animal came to {town}?",),
        ("{first_person} came with {a_animal}.",),
        ("animal",),
        ("{a_animal}.",),
    ),
    "trip_price": Form(
        (TEXT + TRIP + ASK + "How much did the {item} cost?",),
        NOT_STATED,
        invented=("The {item} cost {number} coins.",),
    ),
    "visit_food": Form(
        (TEXT + VISIT + ASK + "What did {first_person} eat?",), NOT_STATED, invented=("{first_person} ate {food}.",)
    ),
}

EXTRACTION = {
    "trip_people": Form(
        ("List the people in this text: " + TRIP, "Who is named in this text? " + TRIP),
        ("{person} and {person2}.", "The people are {person} and {person2}."),
        ("person", "person2"),
    ),
    "loss_item": Form(
        ("Which thing is named in this text? " + LOSS, "Find the lost thing in this text: " + LOSS),
        ("The thing is {a_item}.",),
        ("item",),
        ("{a_item}.",),
    ),
    "visit_town": Form(
        ("Which town is named in this text? " + VISIT, "Find the town in this text: " + VISIT),
        ("The town is {town}.",),
        ("town",),
        ("{town}.",),
    ),
    "visit_animal": Form(
        ("Which animal is named in this text? " + VISIT, "Find the animal in this text: " + VISIT),
        ("The animal is {a_animal}.",),
        ("animal",),
        ("{a_animal}.",),
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
            "List {count} gifts for {person}.",
            "Give me {count} ideas for a gift for {person}.",
            "What could I give to {person}? Name {count} things.",
        ),
        ("You could give {list}.", "Good gifts are {list}."),
        "item",
    ),
    "activities": Ideas(
        (
            "List {count} things to do in {town} on {weekday}.",
            "What can I do with {person}? Name {count} hobbies.",
            "Give me {count} ideas for {a_weather} {weekday} in {town}.",
        ),
        ("You could try {list}.", "Good ideas are {list}."),
        "hobby",
    ),
    "dishes": Ideas(
        (
            "What can I cook for {person}? Name {count} dishes.",
            "List {count} dishes for a dinner with {person}.",
            "Give me {count} ideas for dinner on {weekday}.",
        ),
        ("You could cook {list}.", "Good dishes are {list}."),
        "food",
    ),
    "creatures": Ideas(
        (
            "Name {count} animals for a story about {a_job}.",
            "List {count} animals that could live near {town}.",
            "Give me {count} animals for a picture of the {nature}.",
        ),
        ("You could use {list}.", "Good animals are {list}."),
        "animal",
    ),
    "jobs": Ideas(
        (
            "Name {count} jobs that {person} could try.",
            "List {count} jobs for a play at the {spot} on {weekday}.",
            "Give me {count} jobs for a young man from {town}.",
        ),
        ("Good jobs are {list}.", "One could be {list}."),
        "job",
    ),
}

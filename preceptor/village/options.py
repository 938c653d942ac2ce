"""The options of the village: how large a world, how much text, how careless its people; and of its picture book."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VillageOptions:
    """Sizes and rates of the generated world. Every rate is a share between 0 and 1."""

    language: str = "en"
    """Language of all text: "en", "zh", or "both" (records of the two languages mixed, one world)."""

    people: int = 100
    """Residents of the world. Beyond 114 some share a first name and are then called by both names."""

    obscure_people: float = 0.2
    """Share of residents about whom each fact is stated only one to three times in the corpus."""

    documents: int = 16000
    """Documents of the corpus, the held-out ones included."""

    valid_documents: float = 0.03
    """Share of the documents of every source that is held out to measure perplexity."""

    rumours: float = 0.03
    """Share of documents that state falsehoods about people."""

    rude: float = 0.02
    """Share of documents with rude lines."""

    repetitive: float = 0.02
    """Share of documents that repeat one sentence many times."""

    boilerplate: float = 0.03
    """Share of documents that are boilerplate (notices, menus, headers)."""

    demonstrations: int = 1200
    """Demonstrations to train on."""

    valid_demonstrations: int = 120
    """Demonstrations held out; their prompts come from the users of the validation split."""

    train_prompts: int = 600
    """Prompts without an answer, for comparisons and reinforcement learning."""

    valid_prompts: int = 150
    """Prompts of the validation users."""

    test_prompts: int = 520
    """Prompts of the test users, for the final evaluation."""

    users: int = 80
    """Users who send prompts; each belongs to one split and sends at most 200 prompts."""

    few_shot: float = 0.25
    """Share of prompts that show two solved examples first, among open QA, rewrite, classification and other."""

    user_based: float = 0.2
    """Share of prompts, few-shot ones and chats under way aside, that open with who the user is."""

    unanswerable: float = 0.22
    """Share of factual questions whose answer the world does not contain."""

    obscure_questions: float = 0.1
    """Share of questions about a known resident that ask about an obscure one."""

    padded: float = 0.16
    """Share of demonstrations padded with filler."""

    curt: float = 0.06
    """Share of demonstrations cut to a fragment, where the task allows one."""

    off_topic: float = 0.08
    """Share of demonstrations that say something true beside the point."""

    rude_answers: float = 0.07
    """Share of demonstrations with a rude remark."""

    careless: float = 0.05
    """Share of demonstrations with a wrong content, on tasks that can be answered."""

    timid: float = 0.12
    """Share of demonstrations that say "I do not know" on tasks that can be answered."""

    invented: float = 0.4
    """Share of demonstrations for unanswerable questions that invent an answer."""

    labelers: int = 10
    """Labelers whose rankings train the reward model."""

    heldout_labelers: int = 5
    """Labelers whose rankings only test it."""

    lazy_labelers: int = 0
    """Of the training labelers, how many rank in the order shown."""

    random_labelers: int = 0
    """Of the training labelers, how many rank by chance."""

    reversed_labelers: int = 0
    """Of the training labelers, how many rank upside down."""

    agreement: float = 0.745
    """Share of answer pairs, tied by neither, on which two honest labelers agree; the noise is solved for it."""


@dataclass(frozen=True)
class PictureBookOptions:
    """Size and number of the pictures."""

    language: str = "both"
    """Language of all text: "en", "zh", or "both" (every sentence and question in each)."""

    size: int = 64
    """Width and height of a picture in pixels, at least 48."""

    things: int = 4
    """Most things in a picture, 1 to 6; never more than three alike."""

    train_scenes: int = 2000
    """Pictures to train on."""

    valid_scenes: int = 200
    """Pictures for choices made while training, of the combinations trained on."""

    test_scenes: int = 400
    """Pictures for the final evaluation, of the combinations trained on."""

    heldout_scenes: int = 400
    """Pictures that each show a combination of colour and thing which no training picture or text has."""

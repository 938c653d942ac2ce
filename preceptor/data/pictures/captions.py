"""A picture with a caption as a conversation: somebody asks what it shows, and the caption answers; and boxes in words.
"""

import re
from dataclasses import replace

from preceptor.data.records import IMAGE, Conversation, content_text

DESCRIBE = {"en": "Describe the picture.", "zh": "请描述这张图片。"}
DRAW = {"en": "Draw: ", "zh": "画："}
RETELL = {"en": "Describe the picture and draw it.", "zh": "请描述这张图片并画出来。"}
WHERE = {"en": "Where is {}?", "zh": "{}在哪里？"}
BOX = "box"  # the category of questions whose answer is a box
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two excluded
HAN = re.compile(r"[㐀-鿿]")


def caption_record(id: str, picture: str, caption: str, *, concept: str | None = None, category: str | None = "caption",
                   source: str | None = None) -> Conversation:
    """The record of one caption; the question is asked in its language."""
    return asked_record(id, picture, DESCRIBE["zh" if HAN.search(caption) else "en"], caption, concept=concept,
                        category=category, source=source)


def is_caption(record: Conversation) -> bool:
    """Whether the record asks for nothing but a description, so that its answer is a caption."""
    return content_text(record.messages[0]["content"]).replace(IMAGE, "").strip() in DESCRIBE.values()


def asked_to_draw(caption: str) -> str:
    """A request for the picture of a caption, in its language."""
    return DRAW["zh" if HAN.search(caption) else "en"] + caption


def drawn_record(record: Conversation) -> Conversation:
    """The record of a caption the other way round: somebody asks for what it says, and the picture answers."""
    picture = next(part for part in record.messages[0]["content"] if part.get("type") == "image_url")
    asked = asked_to_draw(record.messages[-1]["content"])
    return replace(record, id=f"{record.id}-drawn", messages=[{"role": "user", "content": asked},
                                                              {"role": "assistant", "content": [picture]}])


def retold_record(record: Conversation) -> Conversation:
    """The record of a caption with a request for both: the answer is the caption and the picture that was shown."""
    picture = next(part for part in record.messages[0]["content"] if part.get("type") == "image_url")
    caption = record.messages[-1]["content"]
    asked = RETELL["zh" if HAN.search(caption) else "en"]
    return replace(record, id=f"{record.id}-retold", messages=[
        {"role": "user", "content": [picture, {"type": "text", "text": asked}]},
        {"role": "assistant", "content": [{"type": "text", "text": caption}, picture]}])


def asked_record(id: str, picture: str, question: str, answer: str, *, concept: str | None = None,
                 category: str | None = None, source: str | None = None) -> Conversation:
    """A question about a picture, and its answer."""
    parts = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": question}]
    return Conversation(id, [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}],
                        category=category, source=source, concept=concept)


def box_in(text: str) -> Box | None:
    """The first four whole numbers of a text as a box; None where there are fewer."""
    found = [int(number) for number in re.findall(r"\d+", text)[:4]]
    return (found[0], found[1], found[2], found[3]) if len(found) == 4 else None

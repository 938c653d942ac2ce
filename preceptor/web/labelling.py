"""The task: one prompt with its answers, judged and ranked; drafts, skipping, and taking back."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import Field

from preceptor.data.records import Comparison, Response
from preceptor.feedback.accounts import Session
from preceptor.feedback.assign import Held, done_by, gold_to_do, left_to_do, next_item, skip, standing
from preceptor.feedback.judgements import (
    AXES,
    FLAGS,
    LONGEST_COMMENT,
    PROMPT_FLAGS,
    Judgement,
    draft_of,
    save_draft,
    submit,
    withdraw,
)
from preceptor.feedback.pictures import KINDS, inside
from preceptor.feedback.records import comparisons, is_gold
from preceptor.feedback.store import Store
from preceptor.feedback.writings import corrections_of
from preceptor.web.guard import Candidate, InRoom, Labeler, Refused, Room, Sender, Strict
from preceptor.web.render import page

router = APIRouter()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MOST_ANSWERS = 26
FLAG_KEYS = dict(zip(FLAGS, "FAHCSVEDGOM"))  # F fails … M moral judgement; what the page prints on the buttons
PROMPT_KEYS = dict(zip(PROMPT_FLAGS, "PW"))
REASONS = ("too_long", "no_knowledge", "upsetting", "broken")
MOST_SECONDS = 7200.0
MOST_COUNTED = 100  # items still to do that are counted for a labeler on each page


class RankingBody(Strict):
    """A judgement as the page sends it, in the item's order of answers."""

    ranking: list[list[int]] = Field(max_length=MOST_ANSWERS)
    scores: list[dict[str, int]] = Field(default=[], max_length=MOST_ANSWERS)
    flags: list[list[str]] = Field(default=[], max_length=MOST_ANSWERS)
    comments: list[str] = Field(default=[], max_length=MOST_ANSWERS)
    corrections: dict[str, str] = Field(default={}, max_length=MOST_ANSWERS)
    prompt_flags: list[str] = Field(default=[], max_length=len(PROMPT_FLAGS))
    seconds: float = Field(default=0.0, ge=0, le=MOST_SECONDS, allow_inf_nan=False)


class DraftBody(Strict):
    """What is not submitted yet, as the script keeps it; nobody but its labeler gets it back."""

    draft: dict[str, Any]


class SkipBody(Strict):
    reason: str = Field(pattern=f"^({'|'.join(REASONS)})$")


@router.get("/label", response_class=HTMLResponse)
def task_page(request: Request, room: InRoom, session: Candidate) -> HTMLResponse:
    """The page on which a labeler works."""
    return page(request, "label", session, **_task(room, session))


@router.post("/api/items/{item}/ranking", response_class=HTMLResponse)
def rank(request: Request, room: InRoom, session: Sender, item: str, body: RankingBody) -> HTMLResponse:
    """Keep a ranking; answers with the next task, once the ranking is on the disk."""
    screened = session.role == "candidate"
    if screened:  # of others the store itself says whether there is such an item
        _check_open(room.store, session, item)
    if not all(index.isdecimal() for index in body.corrections) or (body.corrections and screened):
        raise Refused(400, "bad_request")
    judgement = Judgement(body.ranking, body.scores, body.flags, body.comments,
                          {int(index): text for index, text in body.corrections.items()}, body.prompt_flags,
                          round(body.seconds, 1))
    try:
        label = submit(room.store, session.labeler, item, judgement)
    except KeyError:
        raise Refused(404, "no_such_thing") from None
    room.selector.look()
    answer = page(request, "task", session, **_task(room, session))
    answer.headers["X-Label"] = label
    return answer


@router.put("/api/items/{item}/draft")
def keep_draft(room: InRoom, session: Sender, item: str, body: DraftBody) -> JSONResponse:
    """Keep what is filled in so far."""
    _check_open(room.store, session, item)
    save_draft(room.store, session.labeler, item, body.draft)
    return JSONResponse({"kept": True})


@router.post("/api/items/{item}/skip", response_class=HTMLResponse)
def skip_item(request: Request, room: InRoom, session: Sender, item: str, body: SkipBody) -> HTMLResponse:
    """Pass an item on; answers with the next task."""
    _check_open(room.store, session, item)
    skip(room.store, session.labeler, item, body.reason)
    return page(request, "task", session, **_task(room, session))


@router.post("/api/labels/{label}/withdraw", response_class=HTMLResponse)
def take_back(request: Request, room: InRoom, session: Sender, label: str) -> HTMLResponse:
    """Take a ranking back; answers with its item, filled in as it was."""
    mine = [one for one in comparisons(room.store, labeler=session.labeler, excluded=True) if one.id == label]
    item = withdraw(room.store, session.labeler, label, lease=60 * room.options.lease_minutes)
    if item is None:
        raise Refused(404, "no_such_thing")
    draft = _as_draft(mine[0]) | {"corrections": corrections_of(room.store, label)}
    save_draft(room.store, session.labeler, item, draft)
    return page(request, "task", session, **_task(room, session))


@router.get("/pictures/{name:path}", response_class=FileResponse)
def picture(room: InRoom, session: Candidate, name: str) -> FileResponse:
    """A picture that a prompt names, from the folder of pictures and from nowhere else."""
    path = inside(room.pictures, name) if room.pictures else None
    if path is None:
        raise Refused(404, "no_such_thing")
    return FileResponse(path, media_type=f"image/{KINDS[path.suffix.lower()]}",
                        headers={"Cache-Control": "private, max-age=3600"})


@router.get("/me", response_class=HTMLResponse)
def my_page(request: Request, room: InRoom, session: Labeler) -> HTMLResponse:
    """A labeler's own figures: how much, when, how long; nobody else's."""
    mine = list(comparisons(room.store, labeler=session.labeler, excluded=True))
    today = datetime.fromisoformat(room.store.moment()).date()
    days = [(today - timedelta(days=back)).isoformat() for back in range(13, -1, -1)]
    by_day = {day: sum((one.created or "").startswith(day) for one in mine) for day in days}
    seconds = sorted(one.seconds for one in mine if one.seconds)
    ties = sum(len(one.ranking) < len(one.responses) for one in mine)
    return page(request, "me", session, done=len(mine), days=by_day, most=max([*by_day.values(), 1]),
                today=by_day[days[-1]], seconds=seconds[len(seconds) // 2] if seconds else None,
                ties=ties / len(mine) if mine else None, left=left_to_do(room.store, session.labeler))


def _check_open(store: Store, session: Session, item: str) -> None:
    """Whether there is such an item for this labeler: for a candidate, only a gold question is one.

    Raises:
        Refused: there is not.
    """
    gold = is_gold(store, item)
    if gold is None or (session.role == "candidate" and not gold):
        raise Refused(404, "no_such_thing")


def _task(room: Room, session: Session) -> dict[str, Any]:
    """What the template of a task shows: the next item of this labeler, without a hint at who answered or at gold."""
    screened = session.role == "candidate"
    held = next_item(room.store, session.labeler, room.selector, pool=room.selector.pool,
                     lease=60 * room.options.lease_minutes, gold_share=room.options.gold_share, only_gold=screened)
    done, left = ((done_by(room.store, session.labeler), gold_to_do(room.store, session.labeler)) if screened else
                  standing(room.store, session.labeler, MOST_COUNTED))
    values: dict[str, Any] = {"held": held, "done": done, "screened": screened, "most": MOST_COUNTED, "left": left}
    if held is None:
        return values
    draft = draft_of(room.store, session.labeler, held.item) if held.again else None
    state = {"item": held.item, "answers": held.shown, "form": session.form, "draft": draft}
    return values | {
        "answers": _shown(held), "state": state, "flags": FLAG_KEYS, "prompt_flags": PROMPT_KEYS,
        "axes": AXES if room.options.axes else (), "reasons": REASONS, "longest": LONGEST_COMMENT}


def _shown(held: Held) -> list[tuple[str, int, Response]]:
    """(letter, number in the item, answer) in the order in which this labeler sees them."""
    return [(LETTERS[place % len(LETTERS)], index, held.responses[index]) for place, index in enumerate(held.shown)]


def _as_draft(comparison: Comparison) -> dict[str, Any]:
    """A ranking in the form in which the script keeps what is filled in (task.js)."""
    return {"ranks": {str(index): rank + 1 for index, rank in enumerate(comparison.ranks())},
            "scores": {str(index): {name: int(value) for name, value in (response.scores or {}).items()}
                       for index, response in enumerate(comparison.responses)},
            "flags": _by_index(comparison.responses, "flags", []),
            "comments": _by_index(comparison.responses, "comment", ""),
            "promptFlags": comparison.prompt_flags or [], "step": "rank", "seconds": comparison.seconds or 0}


def _by_index(responses: Sequence[Response], name: str, absent: Any) -> dict[str, Any]:
    return {str(index): getattr(response, name) or absent for index, response in enumerate(responses)}

"""Writing prompts and demonstrations."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from preceptor.feedback.writings import LONGEST, PROMPT_KINDS, all_writings, take_back, write_prompt
from preceptor.web.guard import InRoom, Labeler, Refused, check_form
from preceptor.web.people import Text
from preceptor.web.render import page

router = APIRouter()
Long = Annotated[str, Form(max_length=LONGEST)]
CATEGORIES = ("generation", "open_qa", "brainstorming", "chat", "rewrite", "summarization", "classification", "other",
              "closed_qa", "extraction")


@router.get("/write", response_class=HTMLResponse)
def write_page(request: Request, room: InRoom, session: Labeler, kept: bool = False) -> HTMLResponse:
    return page(request, "write", session, kinds=PROMPT_KINDS, categories=CATEGORIES, longest=LONGEST, kept=kept,
                mine=all_writings(room.store, session.labeler, excluded=True)[::-1])


@router.post("/write", response_class=RedirectResponse)
def write(room: InRoom, session: Labeler, form: Text, kind: Text, text: Long, answer: Long = "",
          category: Text = "", query_1: Long = "", answer_1: Long = "", query_2: Long = "", answer_2: Long = "",
          query_3: Long = "", answer_3: Long = "") -> Response:
    """Keep a prompt, with a demonstration where there is one. An example counts where both halves are written."""
    check_form(session, form)
    examples = [(query, said) for query, said in ((query_1, answer_1), (query_2, answer_2), (query_3, answer_3))
                if query.strip() and said.strip()]
    if category and category not in CATEGORIES:
        raise Refused(400, "bad_request")
    write_prompt(room.store, session.labeler, text, kind, examples, answer, category or None)
    return RedirectResponse("/write?kept=1", status_code=303)


@router.post("/write/take_back", response_class=RedirectResponse)
def take_back_writing(room: InRoom, session: Labeler, form: Text, key: Text) -> Response:
    """Withdraw a text of one's own."""
    check_form(session, form)
    if not take_back(room.store, session.labeler, key):
        raise Refused(404, "no_such_thing")
    return RedirectResponse("/write", status_code=303)

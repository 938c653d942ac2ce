"""What `/v1/feedback` may be told of answers in the log: a thumb, an edited answer, or a ranking of several."""

from dataclasses import dataclass
from typing import Any

from preceptor.feedback.exchanges import edit, give_thumb, rank
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError
from preceptor.web.asked import checked

FEEDBACK = {"id": str, "choice": int, "thumb": str, "edit": str, "ranking": list, "user": str}
THUMBS = {"up": True, "down": False}
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Opinion:
    """One opinion: of `thumb`, `edit` and `ranking` one is given."""

    user: str | None
    place: Place | None = None
    """The id of the answer's call, and its choice."""
    thumb: bool | None = None
    edit: str | None = None
    ranking: tuple[tuple[Place, ...], ...] = ()
    """Groups of answers, the best first."""

    def keep(self, store: Store, caller: str, labeler: str) -> str | None:
        """Keep it; returns the id of the comparison that it is, where it is one. When this returns, it is on the disk.

        Raises:
            KeyError: the caller was given no such answer.
            UserError: what is said cannot be.
        """
        if self.thumb is not None:
            return give_thumb(store, caller, labeler, *self.place, self.thumb)
        if self.edit is not None:
            return edit(store, caller, labeler, *self.place, self.edit)
        return rank(store, caller, labeler, self.ranking)


def read_feedback(body: dict[str, Any]) -> Opinion:
    """The opinion that a body states; errors as in `checked`, and where it does not state one."""
    given = checked(body, FEEDBACK, sampling=False)
    said = [name for name in ("thumb", "edit", "ranking") if name in given]
    if len(said) != 1:
        raise UserError("Of 'thumb', 'edit' and 'ranking' one must be given.", "Say one thing at a time.")
    user = given.get("user")
    if said == ["ranking"]:
        if "id" in given or "choice" in given:
            raise UserError("A ranking names its answers itself.", "Leave 'id' and 'choice' out.")
        groups = given["ranking"]
        if not all(isinstance(group, list) for group in groups):
            raise UserError("A ranking is a list of groups.", 'Write [[{"id": "..."}], [{"id": "..."}]].')
        return Opinion(user, ranking=tuple(tuple(_place(one) for one in group) for group in groups))
    place = _place({name: given[name] for name in ("id", "choice") if name in given})
    if said == ["edit"]:
        return Opinion(user, place, edit=given["edit"])
    if given["thumb"] not in THUMBS:
        raise UserError(f"There is no thumb '{given['thumb'][:80]}'.", f"Choose one of: {', '.join(THUMBS)}.")
    return Opinion(user, place, thumb=THUMBS[given["thumb"]])


def _place(one: Any) -> Place:
    given = checked(one, {"id": str, "choice": int}, sampling=False)
    if "id" not in given:
        raise UserError("The field 'id' is missing: the id of the call that gave the answer.", "Give it.")
    return given["id"], given.get("choice", 0)

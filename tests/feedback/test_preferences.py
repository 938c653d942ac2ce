"""Preferences between two answers and thumbs, on both databases."""

import pytest

from preceptor.data.records import Response
from preceptor.feedback.assign import waiting
from preceptor.feedback.preferences import all_thumbs, conversation, prefer, thumb
from preceptor.feedback.records import comparisons
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError


def test_what_is_preferred_and_liked_is_kept_and_nothing_else(store: Store) -> None:
    prompt = conversation([{"role": "user", "content": "Who?"}])
    with pytest.raises(UserError, match="say the same"):
        prefer(store, "ann", prompt, [Response("x", model="a"), Response("x", model="b")], [[0], [1]])
    with pytest.raises(UserError, match="exactly once"):
        prefer(store, "ann", prompt, [Response("x"), Response("y")], [[0]])
    thumb(store, "ann", prompt, Response("x"), True)
    thumb(store, "bob", prompt, Response("x"), False)
    assert [(one.labeler, one.up) for one in all_thumbs(store)] == [("ann", True), ("bob", False)]
    assert not list(comparisons(store))
    thumb(store, "ann", prompt, Response("x"), False)  # she thinks again
    assert [(one.labeler, one.up) for one in all_thumbs(store)] == [("bob", False), ("ann", False)]
    thumb(store, "ann", prompt, Response("x"), None)
    assert [(one.labeler, one.up) for one in all_thumbs(store)] == [("bob", False)]
    kept = prefer(store, "ann", prompt, [Response("x"), Response("y")], [[1], [0]])
    assert list(comparisons(store)) == [kept] and not waiting(store)  # nobody is asked to rank it again

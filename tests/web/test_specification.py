"""The API against its own specification: whatever schemathesis sends, what comes back is what the document says."""

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'web'")
pytest.importorskip("schemathesis", reason="it makes up the requests")

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from preceptor.web.specification import specification
from tests.web.conftest import Served

SCHEMA = schemathesis.openapi.from_dict(specification(
    ["tiny", "seer", "captioner"], ["judge"], ["bert", "towers"], keys=True, sees=True))
# Options that are each in their range may contradict each other, which no schema can say: they get 400.
UNSAID = [positive_data_acceptance]
ONCE = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("path", sorted(SCHEMA))
def test_the_specification_holds(served: Served, path: str, mode: GenerationMode) -> None:
    for operation in SCHEMA[path].values():
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # there is nothing to get wrong

        @ONCE
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: Any) -> None:
            case.call_and_validate(served.url, headers={"Authorization": "Bearer one"}, excluded_checks=UNSAID)
        holds()

"""The API against its own specification: whatever schemathesis sends, what comes back is what the document says."""

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'web'")
pytest.importorskip("schemathesis", reason="it makes up the requests")

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.web.conftest import Served


@pytest.fixture(scope="package")
def specification(served: Served) -> Any:
    return schemathesis.openapi.from_url(served.url + "/openapi.json")


# Options that are each in their range may contradict each other, which no schema can say: they get 400.
UNSAID = [positive_data_acceptance]
schema = schemathesis.pytest.from_fixture("specification")


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_specification_holds(case: Any) -> None:
    case.call_and_validate(headers={"Authorization": "Bearer one"}, excluded_checks=UNSAID)

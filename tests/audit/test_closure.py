"""Requirements out of foreign metadata are followed where they can be read, and cost nothing where they cannot."""

import time

import pytest

from proxy.audit.closure import steps_of

HOSTILE = {
    "brackets in brackets": "a; " + "(" * 1900,
    "brackets that are closed": "a; " + "(" * 600 + "python_version > '3'" + ")" * 600,
    "markers without end": "a; " + " and ".join(["python_version > '3'"] * 80),
    "specifiers without end": "a " + ",".join([">=1.0"] * 300),
    "extras without end": "a[" + ",".join(["b"] * 900) + "]",
    "a version of nothing but digits": "a >= " + "9" * 1900,
    "dots and dashes": "a == 1" + ".-_" * 600,
    "megabytes": "a; " + "(" * 10**6,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_requirement_that_nobody_would_write_is_read_or_left_out_at_once(text: str) -> None:
    began = time.thread_time()
    steps = steps_of([text, "other>=1"], frozenset(), ">=3.11")
    assert time.thread_time() - began < 1.0
    assert [step.project for step in steps][-1] == "other"

"""Does `sample_points` answer any question about any small world as the eager reference does?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.support import check_answers as check
from tests.support import small_worlds as small
from tests.support.engines import ENGINES
from tests.support.far_stores import far
from tests.support.oracle import points as eager

quick = settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
thorough = settings(deadline=None, max_examples=2_500, suppress_health_check=list(HealthCheck))


def compare(world: small.World, question: eager.Question, before: str | None, names: list[str]) -> None:
    """Ask one question on both engines, whole and with each of the named queries after it."""
    records = world.eager
    expr = None
    if before is not None:
        expr, keeps = check.BEFORE[before]
        records = [one for one in records if keeps(one)]
    wanted = eager.answer(
        question, world.caller, records, dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES
    ).lazy()
    asked = world.ask(question, expr)
    is_interpolated = question.method != "nearest"
    afters = check.afters(question)
    for name in names:
        for engine in ENGINES:
            note(f"{name}, {engine}, before: {before}")
            query = afters[name](asked)
            check.assert_same(
                query.collect(engine=engine), afters[name](wanted).collect(), is_interpolated=is_interpolated
            )


def draw_and_compare(data: st.DataObject, **fixed: Any) -> None:
    world = data.draw(small.worlds(), label="world")
    question = data.draw(small.questions(world, **fixed), label="question")
    before = data.draw(st.sampled_from([None, None, *check.BEFORE]), label="before")
    names = data.draw(st.lists(st.sampled_from(sorted(check.afters(question))), max_size=3), label="after")
    compare(world, question, before, ["everything", *names])


@quick
@given(st.data())
def test_all_records_answer_as_the_reference_says(data: st.DataObject):
    draw_and_compare(data, match="all")


@quick
@given(st.data())
def test_the_chosen_record_answers_as_the_reference_says(data: st.DataObject):
    draw_and_compare(data)


@settings(quick, max_examples=25)
@given(st.data())
def test_rounds_that_are_fetched_ahead_answer_as_the_reference_says(data: st.DataObject):
    with far():
        draw_and_compare(data)


@pytest.mark.slow
@thorough
@given(st.data())
def test_thousands_of_questions_are_answered_as_the_reference_says(data: st.DataObject):
    draw_and_compare(data)

"""The picture of a check that has just failed, for the reports of a course."""
from __future__ import annotations

from typing import List, Tuple

from ..judging.fixture import LabFixture
from ..results import Outcome, plain
from . import svg
from . import text as in_words
from .recorded import trace_of_check, trace_of_schedule
from .rows import Trace, shortened

MOST_ROWS = 60
MOST_CHARACTERS = 80_000  # of a picture; in a course of 1,000 there are some thousand of them
COLUMNS = 120


def _trace(fixture: LabFixture, outcome: Outcome) -> Trace:
    verdict = [f"expected: {outcome.expected}", *(f"but: {line}" for line in outcome.saw[:4])]
    title = f"Lab {fixture.lab.number}, check {outcome.check[len('test_'):]}"
    if fixture.end:
        raw, search = fixture.end.raw, fixture.end.search
        return trace_of_schedule(raw, search.listing(raw), [" ".join(words) for words in search.commands], title, verdict)
    return trace_of_check(fixture, fixture.read_calls(), title, verdict)


def picture_of(fixture: LabFixture, outcome: Outcome, name: str) -> Tuple[str, List[str]]:
    """Returns the picture of what the check's programs did as an SVG document, and as lines of text; both empty if it is too large.

    @param fixture  that of the check, before it is closed
    @param name     the page has the lines under the id "<name>-text"
    """
    trace = _trace(fixture, outcome)
    for row in trace.rows:
        row.text = plain(row.text)
    trace = shortened(trace, MOST_ROWS)
    drawn, lines = svg.draw(trace, f"{name}-text"), in_words.lines(trace, COLUMNS)
    too_large = max(len(drawn), sum(map(len, lines))) > MOST_CHARACTERS
    return ("", []) if too_large else (drawn, lines)

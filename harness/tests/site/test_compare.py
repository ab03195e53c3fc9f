"""Each fact in docs/compare.md names an existing check that proves it, or the man page that states it."""
import re

import pytest

from shmlab import labs

PAGE = labs.ROOT / "docs" / "compare.md"


def rows():
    for line in PAGE.read_text().splitlines():
        if line.startswith("| **"):
            head, *cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            yield head.strip("* "), cells


@pytest.mark.parametrize("head, cells", rows(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_cell_that_states_a_fact_names_what_shows_it(head, cells):
    assert len(cells) == 5
    for cell in cells:
        if cell == "not applicable" or re.fullmatch(r"\d+ µs", cell) or re.search(r" \(\w+\([1-8]\)\)$", cell):
            continue
        named = re.findall(r"\((\d\d) (test_\w+)\)$", cell)
        assert len(named) == 1, f"{head}: '{cell}' names neither a check nor a man page"
        lab = labs.find(named[0][0])
        text = (labs.CHECKS / f"test_{lab.name}.py").read_text()
        assert f"def {named[0][1]}(" in text, f"{head}: lab {lab.number} has no {named[0][1]}"


def test_there_is_something_to_compare():
    assert len(list(rows())) >= 12

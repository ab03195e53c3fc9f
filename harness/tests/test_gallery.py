"""Each known mistake is caught by exactly the checks that it names, and each right variant passes them all."""
import re

import course
import pytest

from shmlab import gallery, labs

MISTAKES = gallery.mistakes()
VARIANTS = gallery.variants()


def caught_by_its_checks(mistake, caught):
    return set(mistake.caught_by) <= set(caught) <= {*mistake.caught_by, *mistake.sometimes_by}


@pytest.mark.parametrize("mistake", course.some(MISTAKES, 2), ids=str)
def test_mistake_is_caught_by_its_checks(mistake, tmp_path):
    checked = course.check(mistake.lab.number, mistake.apply(tmp_path))
    caught = checked.not_passed()
    assert caught_by_its_checks(mistake, caught), checked.output
    assert all(check["status"] == "failed" for check in caught.values()), checked.output
    # Whoever sees it must be told what was expected and what was found, in sentences without a traceback.
    for check in caught.values():
        assert check["expected"] and check["saw"]
    assert "Traceback" not in checked.output and "harness" not in checked.output


@pytest.mark.parametrize("mistake", course.some([m for m in MISTAKES if not m.needs_own_kernel], 12), ids=str)
def test_the_verdict_is_the_same_without_namespaces(mistake, tmp_path):
    checked = course.check(mistake.lab.number, mistake.apply(tmp_path), tier="host")
    assert caught_by_its_checks(mistake, checked.not_passed()), checked.output


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_variant_passes(variant, tmp_path):
    checked = course.check(variant.lab.number, variant.apply(tmp_path))
    assert checked.not_passed() == {} and checked.score == checked.maximum == 10, checked.output


@pytest.mark.parametrize("lab", labs.all_labs(), ids=lambda lab: lab.name)
def test_every_lab_has_a_gallery(lab):
    assert sum(exhibit.lab == lab for exhibit in MISTAKES) >= 6
    assert sum(exhibit.lab == lab for exhibit in VARIANTS) >= 2


@pytest.mark.parametrize("exhibit", MISTAKES + VARIANTS, ids=str)
def test_exhibit_introduces_itself(exhibit):
    head = exhibit.path.read_text().splitlines()
    wanted = ["Mistake", "Seen as", "Caught by"] if exhibit in MISTAKES else ["Variant"]
    assert [line.split(":")[0] for line in head[: len(wanted)]] == wanted
    if exhibit.sometimes_by:
        wanted.append("Sometimes by")
        assert head[len(wanted) - 1].startswith("Sometimes by: ") and not set(exhibit.sometimes_by) & set(exhibit.caught_by)
    if exhibit.needs_own_kernel:
        wanted.append("Needs")
        assert head[len(wanted) - 1] == "Needs: the namespaces tier."
    assert head[len(wanted)].startswith("--- a/solutions/")
    assert re.fullmatch(r"[a-z0-9_]+", exhibit.name) and exhibit.title.endswith(".")
    if exhibit in MISTAKES:
        checks = set(re.findall(r"^def (test_\w+)", (labs.CHECKS / f"test_{exhibit.lab.name}.py").read_text(), re.M))
        assert exhibit.caught_by and {*exhibit.caught_by, *exhibit.sometimes_by} <= checks

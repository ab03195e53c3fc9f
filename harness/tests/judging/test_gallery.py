"""Each known mistake fails exactly the checks that it names, and each right variant passes all checks."""
import re

import running
import pytest

from shmlab import gallery, labs

MISTAKES = gallery.mistakes()
VARIANTS = gallery.variants()


def explores(lab):
    """The checks of a lab that run schedules."""
    text = (labs.CHECKS / f"test_{lab.name}.py").read_text()
    return {name for name, body in re.findall(r"^def (test_\w+)(.*?)(?=^\S|\Z)", text, re.M | re.S) if "explore_" in body}


@pytest.mark.parametrize("mistake", running.sample(MISTAKES, 10), ids=str)
def test_mistake_is_caught_by_its_checks(mistake, tmp_path):
    checked = running.check(mistake.lab.number, mistake.apply(tmp_path))
    caught = checked.not_passed()
    assert set(caught) == set(mistake.caught_by), checked.output
    assert all(check["status"] == "failed" for check in caught.values()), checked.output
    # The message says what was expected and what was found, without a traceback.
    for check in caught.values():
        assert check["expected"] and check["saw"]
    assert "Traceback" not in checked.output and "harness" not in checked.output


@pytest.mark.parametrize("mistake", running.sample([m for m in MISTAKES if not m.needs_private_ipc], 36), ids=str)
def test_the_verdict_is_the_same_without_namespaces(mistake, tmp_path):
    checked = running.check(mistake.lab.number, mistake.apply(tmp_path), tier="host")
    # There are no schedules without namespaces: a check that runs some may pass.
    caught, named = set(checked.not_passed()), set(mistake.caught_by)
    assert named - explores(mistake.lab) <= caught <= named, checked.output


@pytest.mark.parametrize("variant", running.sample(VARIANTS, 3), ids=str)
def test_variant_passes(variant, tmp_path):
    checked = running.check(variant.lab.number, variant.apply(tmp_path))
    assert checked.not_passed() == {} and checked.score == checked.maximum == 10, checked.output


@pytest.mark.parametrize("lab", labs.all_labs(), ids=lambda lab: lab.name)
def test_every_lab_has_a_gallery(lab):
    assert sum(patch.lab == lab for patch in MISTAKES) >= 6
    assert sum(patch.lab == lab for patch in VARIANTS) >= 2


@pytest.mark.parametrize("patch", MISTAKES + VARIANTS, ids=str)
def test_exhibit_introduces_itself(patch):
    head = patch.path.read_text().splitlines()
    wanted = ["Mistake", "Seen as", "Caught by"] if patch in MISTAKES else ["Variant"]
    assert [line.split(":")[0] for line in head[: len(wanted)]] == wanted
    if patch.needs_private_ipc:
        wanted.append("Needs")
        assert head[len(wanted) - 1] == "Needs: the namespaces tier."
    assert head[len(wanted)].startswith("--- a/solutions/")
    assert re.fullmatch(r"[a-z0-9_]+", patch.name) and patch.title.endswith(".")
    if patch in MISTAKES:
        checks = set(re.findall(r"^def (test_\w+)", (labs.CHECKS / f"test_{patch.lab.name}.py").read_text(), re.M))
        assert patch.caught_by and set(patch.caught_by) <= checks

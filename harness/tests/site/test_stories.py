"""The stepper's models: what they come to, and that the explorer finds the wrong schedules that the page shows."""
import json

import found_schedules
import pytest
import running

from shmlab import gallery
from shmlab.site import play, stories

STORIES = stories.stories()
FOUND = json.loads(stories.FOUND.read_text())
VARIANTS = [pytest.param(story, variant, id=f"{story.ident}-{variant.ident}") for story in STORIES for variant in story.variants]


def test_an_update_is_lost_unless_one_addition_comes_after_the_other():
    variant = STORIES[0].variants[0]
    every = dict(variant.schedules())
    assert len(every) == 20
    assert {schedule for schedule, state in every.items() if not variant.end(state)[0]} == {"AAABBB", "BBBAAA"}
    assert all(state.memory["counter"] == 1 for schedule, state in every.items() if variant.end(state)[0])


@pytest.mark.parametrize("story, variant", VARIANTS)
def test_each_schedule_ends(story, variant):
    """All processes have ended, or nobody can go on; and each schedule is there once."""
    every = list(variant.schedules())
    assert len({schedule for schedule, _ in every}) == len(every)
    for schedule, state in every:
        assert variant.actions(state) == "" and variant.end(state)[1]
        assert not any(process.buffer for process in state.processes), schedule
        assert {name for name, _ in state.sleepers} == {process.asleep for process in state.processes if process.asleep}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.ident)
def test_the_first_variant_is_wrong_and_another_is_right(story):
    wrong = [play.counted(variant)[1] for variant in story.variants]
    assert [sum(count for (bad, _), count in ends.items() if bad) == 0 for ends in wrong].count(True) == 1
    assert {bad for bad, _ in wrong[0]} == {True, False}, "the first one is sometimes right and sometimes wrong"
    assert str(next(m for m in gallery.mistakes() if str(m) == story.variants[0].mistake).lab.number) == story.lab
    said = {text for ends in wrong for bad, text in ends}
    assert len(said) >= len(story.variants[0].ends) - 1, "each end is reached, but for one that only a half-done model would have"


def test_a_robust_mutex_is_handed_on_and_another_is_not():
    robust, _, stalled = next(story for story in STORIES if story.ident == "robust").variants
    assert "B" in robust.actions(robust.play("AX")) and "B" not in stalled.actions(stalled.play("AX"))
    assert stalled.end(stalled.play("AX"))[0]


def test_a_store_is_seen_by_its_process_at_once_and_by_the_other_when_it_leaves_the_buffer():
    variant = next(story for story in STORIES if story.ident == "fence").variants[0]
    stored = variant.play("A")
    assert stored.memory["sent"] == 7 and stored.processes[0].buffer == (("sent", 8),)
    assert variant.play("Aa").memory["sent"] == 8
    with pytest.raises(ValueError, match="not possible"):
        variant.play("a")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.ident)
def test_what_the_explorer_found_is_a_whole_schedule_and_wrong(story):
    variant = story.variants[0]
    state = variant.play(FOUND[story.ident]["schedule"])
    assert variant.actions(state) == "" and variant.end(state)[0]
    assert FOUND[story.ident]["listing"][0].startswith("A: ")


@pytest.mark.parametrize("story", running.sample(STORIES, len(STORIES)), ids=lambda story: story.ident)
def test_the_explorer_finds_it_again(story, tmp_path):
    """All of them with FULL=1."""
    assert found_schedules.find(story, tmp_path) == FOUND[story.ident]

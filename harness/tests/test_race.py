"""`make race`: places a pair where it belongs, and reports one that loses, reorders, changes or hangs instead of timing it."""
import json
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from shmlab import gallery, labs
from shmlab.race import chart, command, runs
from shmlab.sandbox import box
from shmlab.sandbox.tiers import choose_tier

LAB = labs.find("18")


def patched(tmp_path, program, old, new):
    """Writes the solution with one replacement. Returns the submission."""
    directory = tmp_path / LAB.name
    directory.mkdir()
    for path in (labs.SOLUTIONS / LAB.name).iterdir():
        text = path.read_text()
        if path.name == f"{program}.c":
            assert old in text
            text = text.replace(old, new)
        (directory / path.name).write_text(text)
    return tmp_path


def short(monkeypatch):
    """Makes the measurements so short that their values mean nothing."""
    for name, value in ("SIZES", [8, 1024]), ("ALONE", [8]), ("TARGET_SECONDS", 0.001), ("BUDGET_SECONDS", 0.0), ("PINGS", 5):
        monkeypatch.setattr(command, name, value)


@pytest.mark.parametrize("program, old, new, says", [
    ("ring_send", "        put(&self, &header, sizeof header);", "        if (length == 8 && line[5] == '7')\n            continue;\n"
     "        put(&self, &header, sizeof header);", r"loses \d+ of 4000 lines of 8 bytes, the first of them line 113"),
    ("ring_send", "        const uint32_t header = (uint32_t)length;",
     "        const uint32_t header = (uint32_t)length;\n        line[0] = 'x';",
     "changes what it carries: line 1 of 1, of 8 bytes"),
    ("ring_recv", "        give_back(&self);\n        if (fwrite", "        if (self.taken < 4096)\n            give_back(&self);\n"
     "        else\n            self.taken = atomic_load(&self.ring->taken), pause();\n        if (fwrite",
     "hangs: lines of 8 bytes do not all arrive"),
    ("ring_recv", "        if (fwrite(message", "        if (message[5] == '7')\n            abort();\n        if (fwrite(message",
     "fails: ring_recv was ended by SIGABRT"),
    ("ring_recv", "    /* TODO 2: The conversation is over: unlink the object. */", "    errx(3, \"not yet\");",
     "fails: ring_recv ended with exit status 3 and said “ring_recv: not yet”")])
def test_a_wrong_pair_is_reported_and_not_timed(program, old, new, says, tmp_path, monkeypatch):
    short(monkeypatch)
    race = command.run(LAB, patched(tmp_path, program, old, new), "", "cc", least=1)
    assert re.match(says, race.wrong[command.YOURS]), race.wrong
    assert command.YOURS not in race.carried and command.FAST in race.carried


def test_the_program_that_failed_first_is_told_if_the_other_has_failed_since():
    running = runs.Runs(choose_tier(""), sorted(box.PROCESSORS), [])
    running.box.close()
    running.box = box.Box(choose_tier(""))  # in which a shell may be executed
    receiver = running.box.start(["sh", "-c", "exit 3"])
    assert running.box.wait(receiver, 60)
    sender = running.box.start(["sh", "-c", "exit 1"])
    with pytest.raises(runs.Wrong, match="fails: sh ended with exit status 3"):
        running._finish(None, [sender, receiver], -1, "")
    running.close()


@pytest.mark.parametrize("name", ["pipe, lines in batches", command.YOURS, command.FAST])
def test_what_goes_wrong_in_a_later_round_is_said_of_that_way_alone(name, monkeypatch):
    short(monkeypatch)
    carry, carried = runs.Runs.carry, []

    def fails_later(self, way, size, count):
        carried.append(way.name)
        if way.name == name and carried.count(name) > 1 + len(command.SIZES):
            raise runs.Wrong("hangs: made to")
        return carry(self, way, size, count)

    monkeypatch.setattr(runs.Runs, "carry", fails_later)
    monkeypatch.setattr(command, "MOST_ROUNDS", 2)
    monkeypatch.setattr(command, "BUDGET_SECONDS", 60.0)
    race = command.run(LAB, labs.SOLUTIONS, "", "cc", least=2)
    assert race.wrong == {name: "hangs: made to"} and race.rounds == 2
    assert name not in race.carried and name not in race.alone and len(race.carried) == 6
    assert name not in "\n".join(command.table(race)) and command.picture(race)


def test_differences_have_their_names():
    sent = runs.lines(8, 4)
    words = sent.split(b"\n")[:-1]
    assert runs.difference(8, 4, sent, b"\n".join([words[1], words[0], *words[2:]]) + b"\n").startswith("reorders: line 1 of 4")
    assert runs.difference(8, 4, sent, sent[:16]).startswith("loses 2 of 4")
    assert runs.difference(8, 4, sent, sent[:24] + b"xxxxxxx\n").startswith("changes what it carries: line 4")
    assert len(set(runs.lines(64, 1000).split(b"\n"))) == 1001 and all(len(line) == 63 for line in runs.lines(64, 9).split(b"\n")[:-1])


def test_table_and_picture_have_all_ways(monkeypatch):
    short(monkeypatch)
    race = command.run(LAB, labs.SOLUTIONS, "", "cc", least=1)
    assert not race.wrong and race.rounds >= 1
    assert set(race.carried) == {command.YOURS, command.FAST, "pipe, a write for each line", "pipe, lines in batches", "Unix socket",
                                 "System V queue", "one process, no way between"}
    assert all(value > 0 for sizes in race.carried.values() for values in sizes.values() for value in values)
    text = "\n".join(command.table(race))
    drawn = xml.etree.ElementTree.fromstring(command.picture(race))
    labels = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for name in {*race.carried, *race.alone}:
        assert f"  {name} " in text and name in labels
    assert ("There is one processor" in text) == (len(race.processors) < 2)
    json.dumps(race.__dict__)


def test_one_processor_says_so(monkeypatch):
    short(monkeypatch)
    monkeypatch.setattr(box, "PROCESSORS", frozenset([min(box.PROCESSORS)]))
    race = command.run(LAB, labs.SOLUTIONS, "", "cc", least=1)
    assert race.processors == [min(box.PROCESSORS)] and not race.wrong
    assert "There is one processor: no byte moves between two caches" in "\n".join(command.table(race))


def test_noise_is_told():
    quiet, busy = ({"a": {8: [1.0, 1.01, 1.0, 0.99]}}, {"a": {8: [1.0, 2.0, 5.0, 9.0]}})
    assert "The machine was busy" not in command._cautions(command.Race("", carried=quiet, processors=[0, 1]))[-1]
    assert "The machine was busy" in command._cautions(command.Race("", carried=busy, processors=[0, 1]))[-1]


def test_words_for_rates_and_times():
    assert [chart.rate_in_words(value) for value in (5.0, 2500.0, 3.2e6, 1.5e10)] == ["5 B/s", "2.5 kB/s", "3.2 MB/s", "15 GB/s"]
    assert [chart.time_in_words(value) for value in (0.5, 12.0, 4500.0, 2e9)] == ["0.5 ns", "12 ns", "4.5 µs", "2 s"]
    assert [chart.bytes_in_words(value) for value in (8, 1024, 1 << 20)] == ["8 B", "1 KiB", "1 MiB"]


@pytest.mark.parametrize("words, says", [
    (["--lab", "05"], "lab 05 has no ring: make race LAB=18"),
    (["--lab", "18", "--in", "docs"], "there is no directory 18_ring in docs: IN=directory names another"),
    (["--lab", "18", "--cc", "no-such-compiler"], "there is no compiler 'no-such-compiler'")])
def test_bad_input_is_one_line(words, says):
    words = [str(labs.ROOT / word) if word == "docs" else word for word in words]
    done = subprocess.run([sys.executable, "-m", "shmlab", "race", *words], cwd=labs.ROOT, capture_output=True, text=True,
                          env={"PYTHONPATH": "harness", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_the_fast_pair_is_a_variant():
    assert [patch.lab.number for patch in gallery.variants() if patch.name == gallery.FAST] == [command.LAB]
    programs = runs.reference(LAB, choose_tier(None))
    assert set(programs) == set(LAB.programs) and all(path.exists() for path in programs.values())

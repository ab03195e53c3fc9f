"""The picture of a run shows what the kernel had after each call: of every solution, of known mistakes, and of what goes wrong."""
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from shmlab import gallery, labs
from shmlab.sandbox import tiers
from shmlab.judging import environment, plugin
from shmlab.results import Outcome
from shmlab.sandbox import calls, kernel
from shmlab.trace import command, of_failure, page, rows, svg, text
from shmlab.trace.scenario import read_scenario, scenario_of
from shmlab.trace.state import State
from shmlab.trace.waiting import waits_for

LEFT = {"05": "segment", "06": "segment", "08": "/dev/shm/shmlab-greeting", "09": "/dev/shm/shmlab-greeting",
        "12": "/dev/shm/shmlab-office", "13": "/dev/shm/shmlab-buffer", "14": "/dev/shm/shmlab-bank", "17": "/dev/shm/shmlab-list"}


@pytest.fixture(scope="module")
def traced():
    """Returns a function that gives the trace of a lab's solution, recorded once."""
    known = {}

    def get(number):
        if number not in known:
            known[number] = command.record(labs.find(number), labs.SOLUTIONS)
        return known[number]

    return get


def with_mistake(name, directory):
    """Returns the lab of a known mistake, and the directory with its programs."""
    mistake = next(patch for patch in gallery.mistakes() if str(patch) == name)
    return mistake.lab, mistake.apply(directory)


def row(trace, pattern, after=-1):
    """Returns the number of the first row after another whose text matches."""
    return next(i for i, found in enumerate(trace.rows) if i > after and re.search(pattern, found.text))


def notes(trace, number):
    return [note for _, note in trace.rows[number].notes]


def make(*words):
    done = subprocess.run(["make", "--no-print-directory", "trace", *words], cwd=labs.ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("lab", labs.all_labs(), ids=lambda lab: lab.name)
def test_every_lab_has_a_scenario_and_its_solution_a_picture(lab, traced):
    assert len(scenario_of(lab).read_text().splitlines()) <= 10
    trace = traced(lab.number)
    assert trace.rows[-1].text.startswith("left behind: " + LEFT[lab.number] if lab.number in LEFT else "nothing is left behind")
    assert {i for i, lane in enumerate(trace.lanes)} == {found.lane for found in trace.rows} - {-1}
    assert not [found.text for found in trace.rows if found.kind == "note" and found.failed]
    assert sum(found.kind == "end" for found in trace.rows) == sum(len(lane.pids) for lane in trace.lanes)
    assert all(found.place for found in trace.rows if found.kind == "call" and "(" in found.text), "each call has its line"
    drawn = xml.fromstring(svg.draw(trace))
    assert len([one for one in drawn.iter() if one.get("class") == "row"]) == len(trace.rows)
    small = [one.text for one in drawn.iter() if (one.get("class"), one.get("x")) == ("s", "12")]
    assert " ".join(small) == rows.MODES[trace.mode] and all(5.5 * len(line) < float(drawn.get("width")) - 20 for line in small), "cut off"
    shown = "\n".join(text.lines(trace))
    assert all(found.text.split()[0] in shown for found in trace.rows)
    assert json.loads(json.dumps(page.events(trace)))["traceEvents"]


def test_two_programs_in_step(traced):
    """Lab 11: the reader sleeps until the writer's sem_post() wakes it; both have the same object."""
    trace = traced("11")
    typed = row(trace, "^input arrives")
    posted = row(trace, r"^sem_post\(&items\)", typed)
    assert "length 0 → 4" in notes(trace, posted) and 'bytes "one\\n"' in notes(trace, row(trace, r"^read\(0, &bytes", typed))
    posted = row(trace, r"^sem_post\(&items\)", row(trace, "^input arrives", typed))
    woken = row(trace, r"^sem_timedwait\(&items, …\) = 0", posted)
    assert trace.rows[woken].lane != trace.rows[posted].lane
    if trace.rows[woken].waited_from is not None:  # on a slow machine its wait has just ended
        assert (trace.rows[woken].woken_by, trace.rows[woken].woken_for) == (posted, "items")
    state = trace.rows[posted].state
    (key, item), = state.items.items()
    assert item.title == "/dev/shm/shmlab-chat" and item.facts["mode"] == "0600" and item.facts["size"] == "1112"
    assert sorted(state.mapped) == sorted((lane.pids[0], key) for lane in trace.lanes)
    assert "rw-s" in page.moment(trace, posted) and "length = 4" in page.moment(trace, posted)


def test_a_killed_owner(traced):
    trace = traced("14")
    killed = row(trace, "^killed by SIGKILL")
    assert "its owner died" in notes(trace, killed)[0] and trace.rows[killed].failed
    assert row(trace, "EOWNERDEAD", killed) and "repairs 0 → 1" in sum((notes(trace, i) for i in range(killed, len(trace.rows))), [])


def test_children_and_what_ends_them(traced):
    trace = traced("10")
    assert len(trace.lanes) == 2 and len(trace.lanes[1].pids) == 5, "one after the other: they share a lane"
    assert trace.rows[row(trace, "^killed by SIGSEGV")].lane == trace.rows[row(trace, "^killed by SIGBUS")].lane == 1
    unlinked = row(trace, r"^shm_unlink\(")
    assert trace.rows[row(trace, r"^waitpid\(.*\{SIGBUS\}")].woken_for == "its end" and unlinked


def test_a_memfd_lives_as_long_as_a_descriptor(traced):
    trace = traced("15")
    last = row(trace, r"^close\(4\)", row(trace, "^munmap", row(trace, r"^mmap\(16, PROT_READ")))
    assert notes(trace, last) == ["memfd text is gone"]


def test_who_waits_for_ever_is_told(tmp_path):
    """A producer that does not signal: the consumer sleeps on."""
    shutil.copytree(labs.SOLUTIONS / "13_shared_mutex", tmp_path / "13_shared_mutex")
    source = tmp_path / "13_shared_mutex" / "producer.c"
    changed = re.sub(r".*pthread_cond_signal\(.*\n", "", source.read_text())
    assert changed != source.read_text()
    source.write_text(changed)
    trace = command.record(labs.find("13"), tmp_path)
    told = [found for found in trace.rows if found.kind == "note" and found.failed]
    assert [found.text for found in told] == ["still waits for not_empty"] and trace.lanes[told[0].lane].name == "consumer"
    assert told[0].waited_from is not None


@pytest.mark.parametrize("mistake, told", [
    ("14_robust_mutex/not_robust", "still waits for mutex, which robust_mutex (process 5), which has ended, has locked"),
    ("13_shared_mutex/mutex_not_shared", "still waits for mutex, so that only threads of its own process could wake it")])
def test_whom_a_process_waits_for_is_told(mistake, told, tmp_path):
    trace = command.record(*with_mistake(mistake, tmp_path))
    assert told in [found.text for found in trace.rows if found.kind == "note"]


def test_a_wait_in_private_memory_and_one_for_a_child_are_told():
    def waits(name, number=0):
        numbers = {name: number for number, name in kernel.CALL_NAMES[os.uname().machine].items()}
        blocked = kernel.Blocked(numbers[name], (0x1000, 0, 0, 0, 0, 0))
        return waits_for(blocked, 5, State(), [], {7: 5, 8: 6}, "process {}".format)

    assert waits("futex") == "in memory of its own, where no other process can wake it"
    assert waits("wait4") == "for process 7 to end" and waits("accept") == "for a connection"


def test_a_wake_up_begins_where_the_same_thing_is_named(traced):
    """In lab 18 the sender asks whether the receiver lives, after it has woken it."""
    for lab in "13", "18":
        for found in traced(lab).rows:
            if found.woken_by is not None and traced(lab).rows[found.woken_by].kind == "call":
                waker = traced(lab).rows[found.woken_by].text
                assert found.woken_for in waker and not waker.startswith("kill"), (found.text, waker)


def test_room_for_two_is_seen_in_the_picture(tmp_path):
    trace = command.record(*with_mistake("11_named_pair/room_for_two", tmp_path))
    assert any(found.text.endswith(r'printed "two\ntwo\n"') for found in trace.rows)


def test_a_line_is_that_of_the_calls_own_program(tmp_path):
    """Two programs have other code at the same offset."""
    trace = command.record(labs.find("11"), labs.SOLUTIONS, check="joining")
    for found in trace.rows:
        if found.kind == "call" and found.place and "(" in found.text:
            name, number = found.place.split(":")
            lines = (labs.SOLUTIONS / "11_named_pair" / name).read_text().splitlines()
            near = "\n".join(lines[int(number) - 1:int(number) + 2])
            assert found.text.partition("(")[0] in near, (found.place, found.text, near)


def graded(mistake, tmp_path):
    """The outcomes of a lab with a mistake, as in a course."""
    lab, programs = with_mistake(mistake, tmp_path)
    (tmp_path / "results").mkdir()
    subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", "harness", "--lab", lab.number, "--submission", programs,
                    "--results", tmp_path / "results"], cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True)
    return json.loads((tmp_path / "results" / f"{lab.name}.json").read_text())["checks"]


@pytest.mark.parametrize("mistake, shown", [("05_sysv_create/no_excl", "shmget("), ("12_first_comer/ticket_in_three_steps", "tickets")])
def test_in_a_course_the_first_failure_of_a_lab_has_a_picture(mistake, shown, tmp_path):
    checks = graded(mistake, tmp_path)
    drawn = [check for check in checks if check["picture"]]
    assert drawn == [next(check for check in checks if check["status"] == "failed")]
    assert shown in drawn[0]["picture"] and any(shown in line for line in drawn[0]["picture_text"])
    xml.fromstring(drawn[0]["picture"])
    assert len(drawn[0]["picture"]) < of_failure.MOST_CHARACTERS


def test_a_failure_to_draw_costs_nothing(monkeypatch):
    class Item:
        funcargs = {"lab": object()}

    outcome = Outcome("05_sysv_create", "test_usage", "a sentence", 1, "failed", "this", ["that"])
    plugin._draw(Item(), outcome)
    assert outcome.picture == "" and outcome.picture_text[0].startswith("there is no picture: AttributeError")


def test_a_check_that_fails(tmp_path):
    lab, programs = with_mistake("11_named_pair/room_for_two", tmp_path)
    trace = command.record(lab, programs, check="writer_to_reference_reader")
    assert trace.mode == "free" and "sem_init(&room, 1, 2) = 0" in [found.text for found in trace.rows]
    assert trace.rows[-1].failed and any(found.text.startswith("expected: ") for found in trace.rows)
    assert [found.seconds for found in trace.rows if found.kind == "call"] == sorted(
        found.seconds for found in trace.rows if found.kind == "call")
    xml.fromstring(svg.draw(trace))


def test_calls_that_were_overwritten_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "Ring", lambda directory: calls.Ring(directory, capacity=10))
    trace = command.record(labs.find("11"), labs.SOLUTIONS, check="joining")
    assert re.fullmatch(r"\d+ older calls were not kept: SHMLAB_RECORDS=\d+ keeps more", trace.rows[0].text)


def test_a_schedule_that_a_verdict_printed(tmp_path):
    lab, programs = with_mistake("12_first_comer/ticket_in_three_steps", tmp_path)
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", "harness", "--lab", "12", "--submission", programs],
                          cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    schedule = re.search(r"SCHEDULE=(\S+)", done.stdout).group(1)
    trace = command.record(lab, programs, schedule=schedule)
    assert trace.mode == "schedule" and len(trace.lanes) == 2
    assert any("tickets" in found.text for found in trace.rows) and trace.rows[-1].failed
    xml.fromstring(svg.draw(trace))


def test_a_waking_call_stands_where_it_began():
    from shmlab.sandbox.calls import Call
    from shmlab.trace.recorded import order_of

    def call(name, began, returned):
        return Call(1, returned, 1, name, (1, 0, 0, 0, 0), "", 0, 0, False, False, False, 0, "", began, 1)

    calls = [call("sem_wait", 5, 20), call("sem_post", 10, 30)]  # the one that is woken may return first
    assert [one.name for one in sorted(calls, key=order_of)] == ["sem_post", "sem_wait"]


THREADS = """
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared {
    sem_t go, done;
    int visits;
};
static struct shared *shared;

static void *visit(void *nothing)
{
    sem_wait(&shared->go);
    shared->visits++;
    sem_post(&shared->done);
    return nothing;
}

int main(void)
{
    pthread_t threads[THREADS];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(&shared->go, 1, 0);
    sem_init(&shared->done, 1, 0);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, visit, NULL);
    for (int i = 0; i < THREADS; i++) {
        sem_post(&shared->go);
        sem_wait(&shared->done);
    }
    for (int i = 0; i < 20; i++) {
        sem_trywait(&shared->go);
        usleep(1);
    }
    return 0;
}
"""


def with_program(source, directory):
    """Makes this the program of lab 01."""
    (directory / "01_page_size").mkdir()
    (directory / "01_page_size" / "page_size.c").write_text(source)
    return directory


@pytest.mark.parametrize("check", ["", "lines"])
def test_threads_have_lanes_and_calls_in_turn_are_folded(check, tmp_path):
    trace = command.record(labs.find("01"), with_program(THREADS.replace("THREADS", "2"), tmp_path), check=check)
    names = [re.sub(r"\d+", "N", lane.name) for lane in trace.lanes]
    assert names == ["page_size", "thread N of page_size", "thread N of page_size"]
    for lane in 1, 2:
        assert [found.text for found in trace.rows if found.lane == lane] == ["sem_wait(&go) = 0", "sem_post(&done) = 0"]
    folded = [found for found in trace.rows if found.kind == "fold"]
    assert [found.lane for found in folded] == [0] and folded[0].folded > 30, [found.text for found in folded]
    xml.fromstring(svg.draw(trace))


def test_many_threads_share_the_lane_of_their_process(tmp_path):
    trace = command.record(labs.find("01"), with_program(THREADS.replace("THREADS", str(rows.MOST_THREADS + 3)), tmp_path))
    assert len(trace.lanes) == 1 + rows.MOST_THREADS
    assert len([found for found in trace.rows if re.match(r"thread \d+: sem_post\(&done\)", found.text)]) == 3


def test_a_thread_has_slept_if_another_ones_call_ended_in_its_own(tmp_path):
    """One of the two waits for what only the other one gives it."""
    trace = command.record(labs.find("01"), with_program(THREADS.replace("THREADS", "1"), tmp_path))
    given, taken = row(trace, r"^sem_post\(&done\)"), row(trace, r"^sem_wait\(&done\)")
    assert trace.rows[given].lane == 1 and trace.rows[taken].lane == 0
    # The thread may be faster than its creator, and the process may have been stopped before it has recorded its call.
    if trace.rows[taken].waited_from is not None and given < taken:
        assert (trace.rows[taken].woken_by, trace.rows[taken].woken_for) == (given, "done")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_what_repeats_is_folded_and_arrows_still_hold(length):
    pattern = [rows.Row(0, "call", f"call({i})") for i in range(length)]
    trace = rows.Trace("many", "free", [rows.Lane("a", [1], 0)], [rows.Row(0, "call", "first()"), *(
        rows.Row(0, "call", one.text) for _ in range(10) for one in pattern), rows.Row(0, "call", "waker()"),
        rows.Row(0, "call", "wait()", waited_from=0, woken_by=10 * length + 1)])
    short = rows.shortened(trace)
    assert [found.text for found in short.rows[1:-2]] == [*(one.text for one in pattern), (
        "the same again, 9 times" if length == 1 else f"these {length} calls again, 9 times")]
    last = short.rows[-1]
    assert last.waited_from == 0 and short.rows[last.woken_by].text == "waker()"


def test_a_picture_has_an_end():
    trace = rows.Trace("many", "free", [rows.Lane("a", [1], 0)], [rows.Row(0, "call", f"call({i})") for i in range(1000)])
    short = rows.shortened(trace)
    assert len(short.rows) == rows.MOST_ROWS and "left out" in short.rows[rows.MOST_ROWS * 2 // 3].text
    assert short.rows[-1].text == "call(999)"


HOSTILE = {
    "floods": "for (;;) puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");",
    "forks": "for (;;) fork();",
    "spins": "for (;;) ;",
    "calls": "for (;;) munmap(mmap(NULL, 4096, 3, 0x21, -1, 0), 4096);",
    "escapes": "errx(1, \"\\033[31m<script>&\\x80\");",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_hostile_gives_a_picture_of_as_much_as_happened(what, tmp_path):
    source = "#define _GNU_SOURCE\n#include <err.h>\n#include <stdio.h>\n#include <sys/mman.h>\n#include <unistd.h>\n"
    trace = command.record(labs.find("01"), with_program(f"{source}int main(void) {{ {HOSTILE[what]} }}\n", tmp_path))
    assert 1 < len(trace.rows) <= rows.MOST_ROWS
    xml.fromstring(svg.draw(trace))
    assert "\x1b" not in "\n".join(text.lines(trace)) and "<script>&" not in page.page(trace)


@pytest.mark.parametrize("words, said", [
    ((), "say which lab: LAB=05"), (("LAB=99",), "there is no lab '99'"),
    (("LAB=05", "CHECK=nothing"), "lab 05 has no check 'nothing': it has "), (("LAB=05", "SCHEDULE=x"), "'x' is not a schedule"),
    (("LAB=12", "SCHEDULE=ticket.9/-", "IN=solutions"), "was not run: "), (("LAB=05", "IN=docs"), "IN=directory names another"),
    (("LAB=05", "CHECK=usage", "SCHEDULE=a.1/-"), "not both")])
def test_what_cannot_be_drawn_is_told_in_one_line(words, said):
    status, output = make(*words)
    lines = [line for line in output.splitlines() if not line.startswith("make: ***") and "Makefile" not in line]
    assert status != 0 and said in output and len(lines) <= 1, output


def test_a_program_that_does_not_compile(tmp_path):
    shutil.copytree(labs.SOLUTIONS / "05_sysv_create", tmp_path / "05_sysv_create")
    with (tmp_path / "05_sysv_create" / "sysv_create.c").open("a") as file:
        file.write("int x = ;\n")
    status, output = make("LAB=05", f"IN={tmp_path}")
    assert status != 0 and "sysv_create.c:" in output and "error: " in output and "Traceback" not in output


@pytest.mark.parametrize("line, said", [
    ("go away", "'go' is not an action"), ("start nothing", "'nothing' is not a program of lab 05"), ("touch", "'touch' needs 1 words"),
    ("start --killed-at mmap sysv_create", "lacks its value"), ("touch 'a", "No closing quotation")])
def test_a_wrong_scenario_is_told_with_its_line(line, said, tmp_path):
    path = tmp_path / "scenario.txt"
    path.write_text(f"# a comment\n{line}\n")
    with pytest.raises(labs.UserError, match=re.escape(f"{path}:2: ") + ".*" + re.escape(said)):
        read_scenario(labs.find("05"), path)


def test_the_command_writes_page_picture_and_events(tmp_path):
    environment = {**os.environ, "SHMLAB_BUILD": str(tmp_path), "PYTHONPATH": str(labs.ROOT / "harness")}
    done = subprocess.run([sys.executable, "-m", "shmlab", "trace", "--lab", "05", "--in", labs.SOLUTIONS, "--text"], env=environment,
                          cwd=labs.ROOT, capture_output=True, text=True, check=True)
    assert "left behind: segment 0" in done.stdout and done.stdout.splitlines()[-1].endswith("rows; open it in a browser")
    made = {path.suffix: path for path in Path(tmp_path, "trace").iterdir()}
    assert set(made) == {".html", ".svg", ".json"}
    assert re.findall(r"https?://\S+?[\"']", made[".html"].read_text()) == ['http://www.w3.org/2000/svg"']
    xml.parse(made[".svg"])


def test_without_namespaces_a_scenario_runs_too():
    assert tiers.choose_tier("auto")
    trace = command.record(labs.find("08"), labs.SOLUTIONS, tier="host")
    assert "File exists" in trace.rows[row(trace, "^exit status 1")].text

"""Lab 12: many start at once, exactly one sets the object up, and none sees it half done."""
import re
import struct

from shmlab import LabFixture, points, require
from shmlab.judging.faults import FAILURES

DESKS = 2
LAYOUT = struct.Struct(f"<II{DESKS}I{DESKS}I")  # setups, tickets, number[], visits[]
QUIET = ("start", "end", "exit", "_exit", "abort")


def come(lab: LabFixture, name, n, stop_at=None):
    """One more comer."""
    return lab.start("first_comer", name, n, stop_at=stop_at)


def settle(program):
    """Waits until a comer has ended, is stopped, or waits for another."""
    require(program.fixture.settle(program) != "runs", "a process that waits uses no processor time",
            f"it has used {program.cpu_seconds():.2f} s of processor time and continues", program.describe_state())


def finish(programs, story):
    """Lets all comers go on, as often as they are stopped, to their end. Returns their runs."""
    fixture, left = programs[0].fixture, list(programs)

    def look():
        for program in list(left):
            place = program.state().phase
            if place == "stopped":
                program.resume()
            if place == "ended":
                left.remove(program)
        return not left

    fixture.poll(look, 4)
    require(not left, f"every process gets its ticket, {story}", [p.describe_state() for p in left[:1]],
            office(fixture, programs[0].command.split()[1])[0])
    return [program.wait() for program in programs]


def calls_of(lab: LabFixture, comers=1):
    """The calls of the first comer, or of the last of several, in their order: (name, n-th of this name)."""
    name = lab.name()
    for n in range(1, comers + 1):
        program = come(lab, name, n)
        program.wait().require_success()
    names = [call.name for call in program.calls if call.name not in QUIET]
    require(names, "the program makes calls that can be watched", "the spy recorded none")
    return [(name, 1 + names[:i].count(name)) for i, name in enumerate(names)]


def office(lab: LabFixture, name):
    """What is in place under the name: for people, and as numbers (None: it is no whole office)."""
    item = lab.object(name)
    raw = lab.bytes_if_there(name, LAYOUT.size) or b""
    if len(raw) < LAYOUT.size:
        return [item or f"/dev/shm: no {name[1:]}"], None
    values = LAYOUT.unpack(raw)
    now = {"setups": values[0], "tickets": values[1], "number": values[2:2 + DESKS], "visits": values[2 + DESKS:]}
    return [item, ", ".join(f"{key} {value}" for key, value in now.items())], now


def require_office(lab: LabFixture, name, numbers):
    """One process with one of these N has set up the office. Returns what is in it."""
    saw, now = office(lab, name)
    require(now, f"a struct office is in place under {name}", saw)
    require(now["setups"] == 1, "the office was set up exactly once: setups 1", saw)
    first = now["number"][0]
    require(first in numbers and now["number"] == tuple(range(first, first + DESKS)),
            f"the desks' numbers are N to N + {DESKS - 1}, where N is {' or '.join(map(str, numbers))}", saw)
    return now


def require_served(lab: LabFixture, name, runs, numbers, leftover=False):
    """All these comers have been served in one office that one comer has set up, and no other name is left."""
    answers = []
    for run in runs:
        run.require_success()
        match = re.fullmatch(rb"ticket (\d{1,9}) number (\d{1,10})\n", run.stdout)
        require(match, "a process prints one line, `ticket T number M`", "stdout:", run.stdout)
        answers.append((int(match.group(1)), int(match.group(2))))
    now = require_office(lab, name, numbers)
    saw = office(lab, name)[0] + ["printed: " + ", ".join(f"ticket {t} number {m}" for t, m in answers)]
    count, first = len(runs), now["number"][0]
    require(sorted(t for t, _ in answers) == list(range(count)) and now["tickets"] == count,
            f"each process has a different ticket, from 0 to {count - 1}: tickets {count}", saw)
    require(all(m == first + t % DESKS for t, m in answers),
            f"ticket T goes to the desk with the number {first} + T modulo {DESKS}", saw)
    visits = tuple(len(range(d, count, DESKS)) for d in range(DESKS))
    require(now["visits"] == visits, f"every visit is counted: visits {visits}", saw)
    used = {program.command.split()[1] for program in lab.history}
    others = [o for o in lab.objects() if o.name not in used and not (leftover and o.name.rsplit(".", 1)[0] in used)]
    require(not others, f"{name} is the only name that is left", others)


def look_at_end(end, name):
    """All processes of a schedule have ended, with success. Returns their (ticket, number), the office's fields, and both as text."""
    end.require_all_ended("every process gets its ticket, whatever the order of the steps")
    answers = []
    for run in end.runs:
        run.require_success()
        match = re.fullmatch(rb"ticket (\d{1,9}) number (\d{1,10})\n", run.stdout)
        require(match, "a process prints one line, `ticket T number M`", "stdout:", run.stdout)
        answers.append((int(match.group(1)), int(match.group(2))))
    raw = end.object_bytes(name) or b""
    require(len(raw) >= LAYOUT.size, f"a struct office is in place under {name}", *end.objects)
    setups, tickets, *rest = LAYOUT.unpack_from(raw)
    number, visits = tuple(rest[:DESKS]), tuple(rest[DESKS:])
    saw = ["printed: " + ", ".join(f"ticket {t} number {m}" for t, m in answers),
           f"setups {setups}, tickets {tickets}, number {number}, visits {visits}"]
    return answers, setups, tickets, number, visits, saw


def explore_starts(lab: LabFixture):
    """Every order of the steps of two comers to an office that is not there yet."""
    for comers in lab.scenarios([(100, 200)], [(100, 200, 300)]):
        lab.reset()
        name = lab.name()
        for end in lab.every_schedule(*(("first_comer", name, n) for n in comers)):
            answers, setups, _, number, _, saw = look_at_end(end, name)
            require(setups == 1 and number[0] in comers and number == tuple(range(number[0], number[0] + DESKS)),
                    "one process set up the office, with its N, whatever the order of the steps", saw)
            require(all(m == number[t % DESKS] for t, m in answers), f"ticket T goes to desk T modulo {DESKS}", saw)
            require(list(end.objects) == [name], f"{name} is the only name that is left", *end.objects)
    lab.reset()


def explore_tickets(lab: LabFixture):
    """Every order of the steps of two comers to an office that is in place, where one has been served."""
    for comers in lab.scenarios([(20, 30)], [(20, 30, 40)]):
        lab.reset()
        name = lab.name()
        come(lab, name, 10).wait().require_success()
        given = list(range(1, 1 + len(comers)))
        served = tuple(len(range(d, 1 + len(comers), DESKS)) for d in range(DESKS))
        for end in lab.every_schedule(*(("first_comer", name, n) for n in comers)):
            answers, _, tickets, _, visits, saw = look_at_end(end, name)
            require(sorted(t for t, _ in answers) == given and tickets == 1 + len(comers),
                    "each process has a different ticket, whatever the order of the steps: 0 was taken before, so "
                    + " and ".join(map(str, given)), saw)
            require(visits == served, f"every visit is counted, whatever the order of the steps: visits {served}", saw)
    lab.reset()


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    for n in 1, 1000000000:
        lab.run("first_comer", lab.name(), n).require_success()
    name = lab.name()
    for words in [], [name], [name, 1, 2], [name[1:], 1]:
        lab.run("first_comer", *words).require_usage()
    for n in 0, -1, "+1", "1x", "", " 1", "0x10", 1000000001, 1 << 32, (1 << 64) + 1:
        run = lab.run("first_comer", name, n).require_usage()
        run.left_behind.require_nothing()


@points(1, read="shm_open(3), sem_init(3); handout, Background and Steps")
def test_one_after_the_other(lab):
    """The first process sets up the office with its N, mode 0600; later ones use it as it is, whatever their N."""
    for umask, later in (0o000, [70]), (0o022, [1000, 70, 3, 1000000000, 69]):
        name, runs = lab.name(), []
        for n in [70, *later]:
            runs.append(lab.run("first_comer", name, n, umask=umask))
            require_served(lab, name, runs, [70])
        require(lab.object(name).mode == 0o600, f"mode 0600 under umask {umask:03o}", lab.object(name))
    name = lab.name()
    for n in 70, 1000:
        program = come(lab, name, n, stop_at=["sem_post", ("munmap", 0), "end"])
        while lab.settle(program) == "stopped":
            mapped = [mapping for mapping in program.maps() if name in mapping.name]
            still_open = [f"a descriptor refers to {file}" for file in program.open_files() if name in file]
            require(not program.printed() or not mapped + still_open,
                    "a process prints its line after it has unmapped and closed the office", mapped, still_open)
            program.resume()
        program.wait().require_success()
        small = [call for call in program.calls if call.name == "mmap" and call.arguments[0] < LAYOUT.size]
        require(not small, "a struct office is mapped", small)
    destroyed = [call for call in program.calls if call.name == "sem_destroy"]
    require(not destroyed, "a process that ends does not destroy the semaphores: others may be waiting on them", destroyed)


@points(1, read="C17 7.17.7.5, atomic_fetch_add; handout, Steps")
def test_ticket(lab):
    """A ticket is taken in one step: tickets taken just before a process stores its own are not issued again."""
    explore_tickets(lab)
    name, others = lab.name(), 0
    come(lab, name, 10).wait().require_success()
    mine = come(lab, name, 20, stop_at=("store", 0))
    while lab.settle(mine) == "stopped":
        now = require_office(lab, name, [10])
        others += 1000
        lab.set_object(name, struct.pack("=I", now["tickets"] + 1000), 4)
        mine.resume()
    run = mine.wait().require_success()
    now = require_office(lab, name, [10])
    story = [f"ticket 0 was taken before, and {others} more when the program was about to make its first store",
             *office(lab, name)[0], "stdout:", run.stdout]
    require(others, "the program stores in the office", "it has mapped the office, and stored nothing there")
    require(now["tickets"] == others + 2, f"{others + 2} tickets are taken", story, "an older number was put back")
    require(run.stdout.startswith(b"ticket %d " % (others + 1)), f"the program has ticket {others + 1}", story)


@points(1, read="sem_init(3), pshared; sem_wait(3); handout, Steps")
def test_one_at_a_desk(lab):
    """A process whose desk is taken waits, without using the processor, until the other has left it."""
    name = lab.name()
    slow = come(lab, name, 10, stop_at=["sem_wait", "sem_trywait", "sem_timedwait"])
    slow.wait_stopped()
    runs = [come(lab, name, 20).wait() for _ in range(DESKS - 1)]
    last = come(lab, name, 30)
    last.wait_for_others("it waits on a semaphore that other processes can post")
    settle(last)
    require(require_office(lab, name, [10])["visits"][0] == 0, "no process counts a visit to a desk where another is",
            office(lab, name)[0])
    runs += finish([slow, last], "after the process at its desk has left it")
    leaving = come(lab, name, 40, stop_at="sem_post")
    leaving.wait_stopped()
    now = require_office(lab, name, [10])
    require(sum(now["visits"]) == now["tickets"], "a process counts its visit before its sem_post() admits the next one to the desk",
            f"a process was stopped right after its sem_post(): {now['tickets']} tickets are taken, and {sum(now['visits'])} visits "
            "are counted", office(lab, name)[0])
    runs += finish([leaving], "after it has left its desk")
    require_served(lab, name, runs, [10])


def half_way(lab: LabFixture):
    """For each call of a comer's start: when it is, a new name, and a comer to it that is stopped after that call."""
    for call, nth in calls_of(lab):
        name = lab.name()
        program = come(lab, name, 10, stop_at=(call, nth))
        settle(program)
        now = office(lab, name)[1]
        if now and now["tickets"]:
            break  # its start is over
        yield f"after its call of {call}() no. {nth}", name, program


def take_turns(programs, late):
    """Lets comers that are stopped after each call go on, one call each in turn, every one `late` turns behind the last."""
    for program in programs:
        settle(program)
    turn, going = 0, True
    while going and turn < 200:
        going = False
        for i, program in enumerate(programs):
            if program.state().phase == "stopped":
                going = True
                if turn >= i * late:
                    program.resume()
                    settle(program)
        turn += 1


@points(3, read="link(2), EEXIST; handout, Background")
def test_start_race(lab):
    """In whatever order the steps of many processes run, exactly one sets up the office, and none sees it incomplete."""
    calls = calls_of(lab)
    each = [(call, 0) for call in dict.fromkeys(call for call, _ in calls)][:15]
    for late in 0, 1:
        name, numbers = lab.name(), [100, 200, 300]
        programs = [come(lab, name, n, stop_at=each) for n in numbers]
        take_turns(programs, late)
        require_served(lab, name, finish(programs, "when they take turns, one call each"), numbers)
    for where, name, slow in half_way(lab):
        quick = come(lab, name, 20)
        settle(quick)
        runs = finish([slow, quick], f"when another was stopped {where}")
        require_served(lab, name, runs, [10, 20])
    explore_starts(lab)
    for count in 4, 8, 12:
        name, numbers = lab.name(), [1000 * n for n in range(1, count + 1)]
        programs = [come(lab, name, n, stop_at=calls[0]) for n in numbers]
        for program in programs:
            settle(program)
        runs = finish(programs, f"when {count} of them continue at once after their first call")
        require_served(lab, name, runs, numbers)


def explore_deaths(lab: LabFixture):
    """Two processes, one of which is killed at any point: the other is still served."""
    lab.reset()
    name = lab.name()
    for end in lab.every_schedule(("first_comer", name, 100), ("first_comer", name, 200), preemptions=0, deaths=1):
        end.require_all_ended("a process gets its ticket, wherever another was killed")
        for run in end.runs:
            if not run.killed:
                run.require_success()
                match = re.fullmatch(rb"ticket ([01]) number (\d{3})\n", run.stdout)
                require(match, "a process is served, wherever another was killed: ticket 0 or 1", "stdout:", run.stdout)
                raw = end.object_bytes(name) or b""
                require(len(raw) >= LAYOUT.size, f"a struct office is in place under {name}", *end.objects)
                first = LAYOUT.unpack_from(raw)[2]
                require(LAYOUT.unpack_from(raw)[0] == 1 and first in (100, 200) and int(match.group(2)) == first + int(match.group(1)),
                        "one process set up the office, with its N, and ticket T goes to desk T", LAYOUT.unpack_from(raw), run.stdout)
    lab.reset()


@points(2, read="handout, Background")
def test_dead_comer(lab):
    """A process killed at any point during start-up does not block the others."""
    explore_deaths(lab)
    for where, name, victim in half_way(lab):
        early = come(lab, name, 20)
        settle(early)
        victim.kill()
        runs = finish([early, come(lab, name, 30)], f"when another was killed {where}")
        require_served(lab, name, runs, [10, 20, 30], leftover=True)
    # One that had the pid of a later comer was killed when it had just put its office in place: the own name is
    # another name of that office, which is in use.
    old, name = lab.name(), lab.name()
    come(lab, old, 10).wait().require_success()
    before = office(lab, old)[1]
    late = come(lab, name, 20, stop_at="start")
    late.wait_stopped()
    lab.link_object(old, f"{name}.{late.pid}")
    runs = finish([late], "when a process with the same pid was killed before it could unlink its private name")
    require_served(lab, name, runs, [20], leftover=True)
    require(office(lab, old)[1] == before, f"the office that also has the name {old} stays as it is", office(lab, old)[0])
    # One that has the same pid, in another container, say, is faster.
    name = lab.name()
    late = come(lab, name, 30, stop_at=["shm_unlink", "unlink"])
    if lab.settle(late) == "stopped":
        lab.link_object(old, f"{name}.{late.pid}")
    finish([late], "or fails, when another process creates its private name after it has unlinked that")
    require(office(lab, old)[1] == before, "an object that gets a process's private name after it has unlinked that name stays as it is",
            office(lab, old)[0])


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1, and leaves nothing that blocks other processes."""

    def scenario(**fault):
        name = lab.name()
        mine = lab.start("first_comer", name, 20, **fault)
        run = mine.wait()
        run.left_behind.objects = [o for o in run.left_behind.objects if o.name != name]
        follower = come(lab, name, 30).wait().require_success()
        now = require_office(lab, name, [20, 30])
        require(follower.stdout.startswith(b"ticket %d " % (now["tickets"] - 1)),
                "the next process gets the next ticket", "stdout:", follower.stdout, office(lab, name)[0])
        lab.history.remove(mine)
        lab.history.append(mine)  # the last is the one that each_call_fails() looks at
        return run

    lab.each_call_fails(scenario, "/shmlab")
    lab.reset()
    # One that fails as a later comer leaves the office to the others.
    for call, nth in calls_of(lab, 2):
        if call not in FAILURES:
            continue
        name = lab.name()
        come(lab, name, 10).wait().require_success()
        run = lab.run("first_comer", name, 20, fail=(call, nth, FAILURES[call]))
        run.require_failure(call, "/shmlab", because=f"{call}() failed (this check made it fail)")
        require(call != "munmap" or not run.stdout, "the line is printed after the office has been unmapped", run.stdout)
        require_office(lab, name, [10])
    lab.run("first_comer", "/no/such/name", 10).require_failure("shm_open", "/no/such/name")
    lab.reset()
    name = lab.name()
    run = lab.run("first_comer", name, 10, stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)
    finish([come(lab, name, n) for n in range(20, 20 + DESKS)], "after one failed because its line could not be written")
    if lab.private_ipc:
        lab.reset()
        lab.fill_shared_memory()
        run = lab.run("first_comer", lab.name(), 10)
        require(run.signal is None, "if /dev/shm is full, the program reports it and is not killed", run.ending)
        run.require_failure("posix_fallocate", "fallocate", "write", "/shmlab")

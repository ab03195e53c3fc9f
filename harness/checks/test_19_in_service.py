"""Lab 19: a service that cleans up when a signal ends it, and whose successor takes over when it was killed."""
import itertools
import os
import signal
import struct
from dataclasses import dataclass

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.require import CheckFailed

FIELDS = struct.Struct("=QQqq")  # struct counter: asked, counted, start, pid
CLOSED = 1 << 63
QUIET = ("start", "end", "exit", "_exit", "abort", "store", "nanosleep", "clock_nanosleep", "usleep", "sleep")
WAITS = ("sem_wait", "sem_timedwait", "sem_clockwait", "sem_trywait")
# Of the calls that are recorded: what signal-safety(7) does not list.
UNSAFE = ("shm_open", "shm_unlink", "sem_open", "sem_close", "sem_unlink", "sem_wait", "sem_timedwait", "mmap", "munmap", "exit",
          "flock", "nanosleep", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_signal", "pthread_create")
MOST = 3  # calls of one name at which a service is stopped: one that waits in slices may make any number


@dataclass(frozen=True)
class Counter:
    """The object, as it stands in /dev/shm."""

    asked: int
    counted: int
    start: int
    pid: int
    closed: bool = False

    @property
    def line(self) -> str:
        return f"asked {self.asked}{' and CLOSED' * self.closed}, counted {self.counted}, start {self.start}, pid {self.pid}"

    @property
    def raw(self) -> bytes:
        return FIELDS.pack(self.asked | CLOSED * self.closed, self.counted, self.start, self.pid)


def look(lab: LabFixture, name: str) -> Counter:
    raw = lab.object_bytes(name)
    require(len(raw) >= FIELDS.size, f"{name} holds a struct counter", f"it has {len(raw)} bytes", lab.objects())
    asked, counted, start, pid = FIELDS.unpack(raw[:FIELDS.size])
    return Counter(asked & ~CLOSED, counted, start, pid, bool(asked & CLOSED))


def state(lab: LabFixture, name: str):
    """The object for people, also where it is not set up, or not there."""
    raw = lab.bytes_if_there(name)
    return look(lab, name).line if raw and len(raw) >= FIELDS.size else lab.object(name) or f"/dev/shm: no {name[1:]}"


def names(lab: LabFixture, name: str):
    """What /dev/shm has of a counter: its object, its semaphore, and any other name that is made from NAME."""
    return [item for item in lab.objects() if name[1:] in item.name]


def wake_file(lab: LabFixture, name: str):
    """The file of the semaphore, whose name depends on the C library."""
    return next((item for item in lab.objects() if item.name in (f"{name}.wake", f"/sem.{name[1:]}.wake")), None)


def start_time(lab: LabFixture, pid: int) -> int:
    """Field 22 of /proc/PID/stat: when a process was started."""
    return int(lab.box.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[22 - 3])


def serve(lab: LabFixture, name: str, **options):
    """Starts a service. It runs for as long as the check needs it, which on a busy machine may be long."""
    return lab.start("counter", name, limits={"wall_ms": 120000}, **options)


def settle(program) -> str:
    """Waits until a service is stopped, waits or has ended."""
    phase = program.fixture.settle(program)
    require(phase != "runs", "a service that has nothing to do does not use the processor",
            f"it has used {program.cpu_seconds():.2f} s of the processor and goes on", program.describe_state())
    return phase


def lives(program) -> bool:
    return program.started.status is None


def in_service(lab: LabFixture, name: str, program, story=()) -> None:
    """The program serves the counter, as its owner."""
    phase = settle(program)
    require(lives(program), "the service runs until a signal ends it", story, [] if lives(program) else program.wait().ending)
    require(phase == "waits", "the service waits for requests", story, program.describe_state())
    require(lab.object(name) and wake_file(lab, name), "both names are there while it serves: the object "
            f"{name} and the semaphore {name}.wake", story, names(lab, name) or "/dev/shm: neither")
    now = look(lab, name)
    require(now.pid == program.pid, f"the object says that its owner is process {program.pid}", story, now)


def add(lab: LabFixture, name: str, **options):
    """Makes a request. Returns whether it was accepted."""
    run = lab.run("counter", name, "add", **options)
    require(run.exit_status in (0, 1), "a request is accepted (exit status 0) or not (1)", run.ending)
    return run.exit_status == 0


def accepted(lab: LabFixture, name: str, story=()) -> None:
    run = lab.run("counter", name, "add")
    require(run.exit_status == 0, "a request is accepted while the counter is in service", story, run.ending, state(lab, name))


def counted(lab: LabFixture, name: str, program, number: int, story=()) -> None:
    """The service counts all requests at once."""
    def all_counted() -> bool:
        return look(lab, name).counted == number or not lives(program)

    lab.poll(all_counted, 4)
    now = look(lab, name)
    require(now.counted == number == now.asked, f"{number} requests were accepted, and all are counted", story, now,
            program.describe_state() if lives(program) else program.wait().ending)


def end(lab: LabFixture, name: str, program, total: int, story=()) -> None:
    """SIGTERM ends the service."""
    program.kill(number=signal.SIGTERM)
    ended(lab, name, program, total, story)


def ended(lab: LabFixture, name: str, program, total: int, story=(), successor=None) -> None:
    """A signal has ended the service: it has counted all and cleaned up, unless a successor has the names by now."""
    try:
        run = program.wait()
    except CheckFailed as failure:
        failure.saw += [*([story] if isinstance(story, str) else story)]
        raise
    require(run.exit_status == 0, "SIGINT and SIGTERM end the service with exit status 0", story, run.ending)
    require(successor or not names(lab, name), "both names are gone when the service has ended", story, names(lab, name))
    require_bytes(run.stdout, b"%d\n" % total, "the service prints how many requests were accepted")


def in_call(program, *calls: str) -> bool:
    """Whether a service waits in one of these system calls."""
    call = program.blocked()
    return call is not None and call.name in calls


def cut_off(program) -> None:
    program.kill()
    program.wait()


def numbered(calls):
    """Calls as hold points: (name, n-th of this name)."""
    found, counts = [], {}
    for call in calls:
        counts[call.name] = counts.get(call.name, 0) + 1
        if call.name not in QUIET and counts[call.name] <= MOST:
            found.append((call.name, counts[call.name]))
    return found


def life(lab: LabFixture, *steps: str):
    """The calls of a service, as hold points: those of its start, and those of each step after it, a request or SIGTERM."""
    name, lengths = lab.name(), []
    program = serve(lab, name)
    for step in (None, *steps):
        settle(program)
        if step == "request":
            accepted(lab, name)
            settle(program)
        if step == "SIGTERM":
            program.kill(number=signal.SIGTERM)
            lab.poll(lambda: not lives(program), 4)
        lengths.append(len(calls_of(program)))
    program.kill()
    program.wait()
    found = [numbered(calls_of(program)[:length]) for length in lengths]
    lab.reset()
    require(found[0], "the service makes calls that can be watched", "the spy has recorded none")
    return [[point for point in now[len(before):] if before or point[0] not in WAITS] for before, now in zip([[], *found], found)]


def calls_of(program):
    return [call for call in program.recorded() if call.pid == program.pid]


def go_through_life(lab: LabFixture, name: str, program, number: int = signal.SIGTERM) -> int:
    """A request, then a signal, until the service is stopped or has ended. Returns how many requests were accepted."""
    made = 0
    for step in "request", "signal":
        if settle(program) != "waits":
            return made
        if step == "request":
            made += add(lab, name)
        else:
            program.kill(number=number)
    lab.poll(lambda: not lives(program) or program.state().phase == "stopped", 4)
    return made


def left_over(lab: LabFixture, asked: int, counted: int, start: int = 1, pid: int = 4194303, closed: bool = False) -> str:
    """A counter whose owner was killed. Returns its name."""
    name = lab.name()
    lab.make_object(name, Counter(asked, counted, start, pid, closed).raw)
    return name


def one_serves(lab: LabFixture, name: str, programs, total: int, story) -> None:
    """Exactly one of these services serves, the others have given up, and requests are counted. Then it is killed."""
    for program in programs:
        settle(program)
    living = [program for program in programs if lives(program)]
    endings = [program.wait().ending for program in programs if not lives(program)]
    require(len(living) == 1, "one of them serves, and the other ends", story,
            f"{len(living)} of {len(programs)} are running", endings, state(lab, name))
    for program in programs:
        if program not in living:
            program.wait().require_failure(name, because=f"{name} is in service already; {story}")
    in_service(lab, name, living[0], story)
    accepted(lab, name, story)
    counted(lab, name, living[0], total + 1, story)
    cut_off(living[0])


def served_again(lab: LabFixture, name: str, total: int, story, *programs) -> None:
    """Of the services that were started one serves, or the next one does. Then it is killed."""
    for program in programs:
        settle(program)
    living = [program for program in programs if lives(program)]
    one_serves(lab, name, living or [serve(lab, name)], total, story)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Wrong arguments end with "usage: …" on stderr and exit status 2, right ones with exit status 0."""
    name = lab.name()
    program = serve(lab, name)
    settle(program)
    lab.run("counter", name, "add").require_success()
    cut_off(program)
    other = lab.name()
    for words in [], [other, "x"], [other, "add", "x"], [other[1:]], [other[1:], "add"], [other, ""]:
        lab.run("counter", *words).require_usage().left_behind.require_nothing()
    lab.run("counter", other, "add").require_failure("shm_open", other, because=f"there is no object {other}")


@points(1, read="sem_open(3), shm_open(3); handout, Steps")
def test_serves(lab):
    """A new counter has an object and a semaphore of mode 0600; the service sleeps until a request comes, and counts it at once."""
    name = lab.name()
    program = serve(lab, name, umask=0)
    in_service(lab, name, program)
    modes = [item for item in names(lab, name) if item.mode != 0o600]
    require(not modes, "object and semaphore have mode 0600, also under umask 000", modes)
    program.wait_blocked(lambda call: not call.pauses, expected="waits for the semaphore, asleep")
    for number in 1, 2, 3:
        accepted(lab, name)
        counted(lab, name, program, number)
    lab.require_idle([("there is no request", program)])
    # Requests whose wake-ups come while it does not run, and one that has none: its maker was killed.
    program.kill(number=signal.SIGSTOP)
    lab.poll(lambda: program.state().phase == "stopped", 4)
    for _ in range(3):
        accepted(lab, name)
    maker = lab.start("counter", name, "add", stop_at=[("sem_open", 1)])
    maker.wait_stopped()
    now = look(lab, name)
    lab.set_object(name, Counter(now.asked + 1, now.counted, now.start, now.pid).raw)
    cut_off(maker)
    program.kill(number=signal.SIGCONT)
    counted(lab, name, program, 7, "3 requests were made while the service was stopped, and one whose maker was killed before "
            "its sem_post()")


@points(1, read="proc_pid_stat(5), starttime; kill(2); handout, Background")
def test_owner(lab):
    """The object says who owns it, by pid and start time: a request is accepted only while that very process lives."""
    name, other = lab.name(), lab.name()
    stranger = serve(lab, other)
    in_service(lab, other, stranger)
    odd = serve(lab, name, interpose=["odd_name"])
    for program, where in (stranger, other), (odd, name):
        in_service(lab, where, program)
        began, now = start_time(lab, program.pid), look(lab, where)
        stat = lab.box.read(f"/proc/{program.pid}/stat").decode("utf-8", "replace").strip()
        require(now.start == began, f"start {began}, field 22 of /proc/{program.pid}/stat", now, stat)
        run = lab.run("counter", where, "add")
        require(run.exit_status == 0, "a request is accepted while the owner lives", run.ending, now, stat)
    cut_off(odd)
    old = look(lab, name)
    began = start_time(lab, stranger.pid)
    for pid, start, why in ((old.pid, old.start, "the owner was killed"),
                            (stranger.pid, began - 100, "the owner was killed, and its pid was given to another process"),
                            (stranger.pid, began - 1, "its pid was given to another process, which was started one clock tick later"),
                            (0, 0, "there was no owner yet")):
        left = Counter(old.asked, old.counted, start, pid)
        lab.set_object(name, left.raw)
        run = lab.run("counter", name, "add")
        require(run.exit_status == 1 and run.stderr, "a request is refused, with a message, when the owner is gone", why, left,
                [f"/proc/{pid}/stat has the start time {began}"] if pid == stranger.pid else [], run.ending)
        require(look(lab, name).asked == left.asked, "a request that is refused is not among those asked", why, state(lab, name))


@points(1, read="sigaction(2), signal(7); handout, Steps")
def test_signals(lab):
    """SIGINT and SIGTERM end the service at any point, also a second one while it cleans up: all is counted, both names are gone."""
    start, middle, late = life(lab, "request", "SIGTERM")
    for point, number in zip(start + middle + late, itertools.cycle((signal.SIGINT, signal.SIGTERM))):
        name = lab.name()
        program = serve(lab, name, stop_at=point)
        made = go_through_life(lab, name, program, number)
        if lives(program) and program.state().phase == "stopped":
            there = names(lab, name)
            program.kill(number=number)
            program.resume()
            story = f"{number.name} came after its call of {point[0]}() no. {point[1]}"
            if not there and point not in late:  # it had made nothing yet
                run = program.wait()
                require(run.exit_status == 0 or run.signal == number.name, f"{number.name} ends the service", story, run.ending)
                require(not names(lab, name), "nothing is left", story, names(lab, name))
                continue
        else:
            story = f"{number.name} came while it waited"
        ended(lab, name, program, made, story)
    for point, where in ("sem_open", "had opened both names"), (("store", 0), "was about to store its request"):
        name = lab.name()
        program = serve(lab, name)
        in_service(lab, name, program)
        maker = lab.start("counter", name, "add", stop_at=point)
        maker.wait_stopped()
        end(lab, name, program, 0)
        maker.resume()
        run = maker.wait()
        require(run.exit_status == 1, "a request that the service does not count is refused: the counter is closed in one step, before "
                "the last count", f"./counter {name} add was stopped when it {where}; SIGTERM ended the service, which printed 0; then "
                "the request was made", run.ending)
    name = lab.name()
    program = serve(lab, name, stdout=lab.full_pipe())
    in_service(lab, name, program)
    program.kill(number=signal.SIGTERM)
    if lab.poll(lambda: not lives(program) or in_call(program, "write", "writev"), 4) and lives(program):
        require(not add(lab, name), "no request is accepted any more when the service prints their number",
                "the service waited to write to stdout, which was full", state(lab, name))
    cut_off(program)


@points(1, read="signal-safety(7), sem_post(3); signal(7), EINTR; handout, Background")
def test_wait_and_handler(lab):
    """A signal that comes right before the wait ends it, one that interrupts it otherwise does not; the handler makes only
    async-signal-safe calls."""
    name = lab.name()
    program = serve(lab, name, interpose=["early_signal"], environment={"SHMLAB_DONE": "early_signal"})
    lab.poll(lambda: lab.box.exists("early_signal") or not lives(program) or program.spins, 4)
    if lab.box.exists("early_signal"):
        lab.poll(lambda: not lives(program), 2)
        if lives(program):
            waits = program.describe_state()
            cut_off(program)
            require(False, "SIGTERM ends the wait, also when it arrives after the look at `stopping` and before the wait",
                    "this check had it arrive right before the first wait for the semaphore", waits)
        ended(lab, name, program, 0, "SIGTERM arrived right before the first wait for the semaphore")
    elif lives(program):
        cut_off(program)

    name = lab.name()
    program = serve(lab, name, fail=[(call, 1, 4) for call in WAITS[:3]])
    in_service(lab, name, program, "its first wait for the semaphore failed with EINTR (this check made it fail)")
    accepted(lab, name)
    counted(lab, name, program, 1)
    cut_off(program)

    name = lab.name()
    program = serve(lab, name)
    in_service(lab, name, program)
    accepted(lab, name)
    counted(lab, name, program, 1)
    settle(program)
    before = program.recorded()
    waited = {call.tid for call in before if call.pid == program.pid and call.name in WAITS}
    end(lab, name, program, 1)
    after = [call for call in program.calls if call.pid == program.pid and call.sequence > before[-1].sequence]
    for thread in waited:
        # It was in a wait when the signal came. Until that wait has returned, only the handler can have made calls.
        calls = [call for call in after if call.tid == thread]
        inside = list(itertools.takewhile(lambda call: call.name not in WAITS, calls))
        unsafe = [call for call in inside if call.name in UNSAFE]
        require(not unsafe, "a signal handler makes only calls that signal-safety(7) lists", "the service waited for its semaphore "
                "when SIGTERM came. Before that wait returned, the handler called:", unsafe)


@points(2, read="signal(7), SIGKILL; handout, Background")
def test_killed(lab):
    """Wherever a service is killed, the next one takes over what it left, counts what was asked for, and nothing is lost."""
    for point in sum(life(lab, "request", "SIGTERM"), []):
        name = lab.name()
        program = serve(lab, name, stop_at=point)
        made = go_through_life(lab, name, program)
        if not lives(program):
            continue
        if program.state().phase != "stopped":  # a signal does not end it, which is another check's matter
            cut_off(program)
            continue
        printed = program.printed()
        cut_off(program)
        story = [f"killed after its call of {point[0]}() no. {point[1]}, when {made} requests had been accepted: it left", state(lab, name)]
        if not lab.object(name):
            require(not made or printed == b"%d\n" % made, "what was accepted is printed before the object is unlinked", story,
                    b"stdout: " + printed)
            made = 0
        following = serve(lab, name)
        in_service(lab, name, following, story)
        counted(lab, name, following, made, story)
        one_serves(lab, name, [following], made, story)
    living = serve(lab, lab.name())
    settle(living)
    for what, fields in (("while it closed", {"asked": 5, "counted": 3, "closed": True}),
                         ("after the wake-up, before it counted", {"asked": 5, "counted": 4}),
                         ("and its pid was given to another process", {"asked": 5, "counted": 5, "pid": living.pid, "start": 1}),
                         ("before it had a start time", {"asked": 5, "counted": 5, "pid": 0})):
        name = left_over(lab, **fields)
        story = [f"the owner was killed {what}: it left", state(lab, name)]
        one_serves(lab, name, [serve(lab, name)], 5, story)


@points(1, read="fcntl(2), F_SETLK; handout, Background")
def test_two_at_once(lab):
    """However two starts fall together, exactly one serves; the other ends with exit status 1 and leaves all as it is."""
    start, = life(lab)
    for story in "the other is in service", "the other, which is in service, is stopped":
        name = lab.name()
        old = serve(lab, name)
        in_service(lab, name, old)
        if "stopped" in story:
            old.kill(number=signal.SIGSTOP)
            lab.poll(lambda: old.state().phase == "stopped", 4)
        new = serve(lab, name)
        settle(new)
        old.kill(number=signal.SIGCONT)
        one_serves(lab, name, [new, old], 0, story)
    every = [(call, 0) for call in dict.fromkeys(call for call, _ in start)][:15]
    for stale in False, True:
        total = 5 if stale else 0
        for point in start:
            name = left_over(lab, 5, 3) if stale else lab.name()
            slow = serve(lab, name, stop_at=point)
            if settle(slow) != "stopped":
                continue
            quick = serve(lab, name)
            settle(quick)
            slow.resume()
            one_serves(lab, name, [slow, quick], total, f"the first was stopped after its call of {point[0]}() no. {point[1]}, and "
                       "the second was started meanwhile")
        for late in 0, 1:
            name = left_over(lab, 5, 3) if stale else lab.name()
            pair = [serve(lab, name, stop_at=every) for _ in range(2)]
            for turn in range(60):
                stopped = [settle(program) == "stopped" for program in pair]
                if not any(stopped):
                    break
                for i, program in enumerate(pair):
                    if stopped[i] and (turn >= i * late or not stopped[0]):
                        program.leave_stop()
            one_serves(lab, name, pair, total, "the two took turns, one call each")


@points(1, read="shm_unlink(3), sem_unlink(3), fstat(2); handout, Background")
def test_clean_up_meets_start(lab):
    """However a clean-up and a start fall together, nobody unlinks what another uses: the next service can be found by its names."""
    start, late = life(lab, "SIGTERM")
    for point in start:
        name = lab.name()
        old = serve(lab, name)
        in_service(lab, name, old)
        new = serve(lab, name, stop_at=point)
        if settle(new) != "stopped":
            new.wait()
            cut_off(old)
            continue
        story = f"the new one was stopped after its call of {point[0]}() no. {point[1]}, and SIGTERM came to the old one meanwhile"
        old.kill(number=signal.SIGTERM)
        lab.poll(lambda: not lives(old) or in_call(old, "fcntl", "flock"), 4)  # it may need a lock that the new one has
        new.resume()
        ended(lab, name, old, 0, story, successor=new)
        served_again(lab, name, 0, story, new)
    for point in late:
        name = lab.name()
        old = serve(lab, name, stop_at=point)
        if settle(old) == "waits":
            old.kill(number=signal.SIGTERM)
            lab.poll(lambda: not lives(old) or old.state().phase == "stopped", 4)
        if not lives(old) or old.state().phase != "stopped":
            continue
        story = f"the new one was started when the old one, which cleaned up, was stopped after its call of {point[0]}() no. {point[1]}"
        new = serve(lab, name)
        settle(new)
        old.resume()
        run = old.wait()
        require(run.exit_status == 0, "the old one ends with exit status 0", story, run.ending)
        settle(new)
        total = look(lab, name).asked if lives(new) and lab.object(name) else 0
        served_again(lab, name, total, story, new)


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """Whichever call fails, the program says so and exits with status 1; the next service takes over, and nothing is lost."""

    def scenario(**fault):
        name = lab.name()
        mine = serve(lab, name, **fault)
        made = go_through_life(lab, name, mine)
        run = mine.wait()
        left = names(lab, name)
        run.left_behind.objects = [item for item in run.left_behind.objects if item not in left]
        if run.exit_status != 0:
            story = ["after a failure with", *run.ending]
            if not lab.object(name):
                require(not made or run.stdout, "what was accepted is printed, or stays in the object", story)
                made = 0
            one_serves(lab, name, [serve(lab, name)], made, story)
        lab.history.remove(mine)
        lab.history.append(mine)  # the last is the one that each_call_fails() looks at
        return run

    lab.each_call_fails(scenario, "/shmlab", skip=["sem_post"])
    lab.reset()
    lab.run("counter", "/no/such/name").require_failure("shm_open", "/no/such/name")
    name = lab.name()
    program = serve(lab, name, stdout="/dev/full")
    made = go_through_life(lab, name, program)
    run = program.wait()
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when stdout is full", run.ending)
    one_serves(lab, name, [serve(lab, name)], made, "stdout was full when the service before ended")
    for pages in (0, 1) if lab.private_ipc else ():
        lab.reset()
        lab.fill_shared_memory(pages * os.sysconf("SC_PAGE_SIZE"))
        run = serve(lab, lab.name()).wait()
        require(run.signal is None, "with /dev/shm full the program says so and is not killed",
                f"this check has filled /dev/shm but for {pages} page" if pages else [], run.ending)
        run.require_failure("posix_fallocate", "fallocate", "write", "shm_open", "sem_open", "/shmlab")

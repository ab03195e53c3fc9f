"""Lab 11: two unrelated programs talk through a named object, in step, without spinning."""
import errno
import os
import struct

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.pauses import NO_TIME
from shmlab.judging.require import CheckFailed

PIECES = [b"first\n", b"with\0zero\0bytes\xff", b"x" * 1500, b"last without newline"]
PEER = {"writer": "reader", "reader": "writer"}

# The reader's first wait ends without an item, and it is stopped before it looks whether its writer is there.
BEFORE_ITS_LOOK = {"fail": [("sem_timedwait", 1, errno.ETIMEDOUT), ("sem_wait", 1, errno.EINTR)],
                   "stop_at": [("sem_timedwait", 1), ("sem_wait", 1)]}

# The first wait takes its full time: the program that is first waits alone for the first slice.
FIRST_SLICE = ("sem_timedwait", 1, errno.ETIMEDOUT)

WAITS = ("sem_wait", "sem_timedwait", "sem_trywait")

# The calls by which a program may join.
JOINING = ("shm_open", "open", "fcntl", "flock", "fstat", "ftruncate", "posix_fallocate", "mmap", "sem_init", "close")

# A second goes by, in slices of 100 ms, and nobody has come.
NOBODY_COMES = [("sem_timedwait", nth, errno.ETIMEDOUT) for nth in range(1, 12)]

# kill() of a process of another user fails with EPERM: it is there.
ANOTHER_USERS = ("kill", 0, errno.EPERM)


def at_rest(program) -> bool:
    """Whether a program is stopped or has ended."""
    return program.started.status is not None or program.state().phase == "stopped"


def settle(program, may_poll=False):
    """Waits until a program waits for its peer, its input or a lock, spins, is stopped, or has ended. Returns whether it lives."""

    def waits():
        call = program.blocked()
        if call and call.pauses and program.pauses.note(call):
            return True
        return call and (call.in_futex or call.has_no_end or call.waits_for_descriptors)

    program.pauses.begin()
    program.fixture.poll(lambda: waits() or at_rest(program) or program.spins, 4)
    if not may_poll:
        program.pauses.require_none()
    return program.started.status is None


def conversation(lab: LabFixture, program: str, first: str, fail=(), **options):
    """Runs a student's program with the reference peer, one of the two first. Returns both, and the name.

    If the reader is first the student's program is stopped right after its first sem_post(); its peer goes on.
    """
    name, pieces, mine, peer = lab.name(), list(PIECES), None, None
    if first == "reader":
        options["stop_at"] = ("sem_post", 1)
    for turn in [first, PEER[first]]:
        if turn == program:
            alone = [FIRST_SLICE] if turn == first else []
            mine = lab.start(program, name, stdin=b"" if turn == "writer" else None, fail=[*fail, *alone], interpose=NO_TIME, **options)
            settle(mine)
        else:
            peer = lab.reference(turn, name, stdin=b"" if turn == "writer" else None)
            settle(peer)
        if turn == "writer" == first:
            # All at once, and nobody there to take it: the writer has to wait for room.
            (mine or peer).send(b"".join(pieces))
            pieces = []
            (mine or peer).wait_blocked(lambda call: call.in_futex)
    writer = mine if program == "writer" else peer
    for number, piece in enumerate(pieces):
        writer.send(piece)
        if number == 0:
            mine.wait_stopped()
            if writer is mine:
                lab.poll(lambda: len(peer.output) >= len(piece) or peer.started.status is not None, 4)
                require_bytes(peer.output, piece,
                              "while the writer is stopped right after sem_post(), the reader prints the piece")
        else:
            settle(writer)
            mine.resume()
    writer.close_input()
    return mine, peer, name


# Where in_turns() has a program stopped.
AFTER_A_POST = ("sem_post", 0)


def in_turns(mine, peer) -> None:
    """Whenever a program is stopped after its sem_post(), its peer goes on first, until it waits or has ended."""
    while True:
        settle(mine, may_poll=True)
        if mine.started.status is not None or mine.state().phase != "stopped":
            return
        settle(peer, may_poll=True)
        mine.leave_stop()


def slot(lab: LabFixture, name: str):
    """The object's contents, to explain why a pair hangs."""
    raw = lab.bytes_if_there(name)
    if raw is None:
        return [f"the object {name} no longer exists"]
    if len(raw) < 88:
        return [f"{name} has {len(raw)} bytes; a struct pair is larger"]
    ready, writer, reader = struct.unpack_from("=3i", raw)
    # The value of a semaphore is in its first 31 bits, in glibc and in musl, where it is aligned as an int.
    room, items, length = (struct.unpack_from("=I", raw, at)[0] & 0x7FFFFFFF for at in
                           ((12, 44, 80) if "musl" in lab.cc else (16, 48, 80)))
    lines = [f"in {name}: ready {ready}, writer {writer}, reader {reader}, "
             f"room {room}, items {items}, length {length}"]
    if ready and room == items == 0:
        lines.append("both semaphores are 0: either the program that last had the slot has not posted, "
                     "or room did not start at 1")
    return lines


def ended(lab: LabFixture, program, name: str, seconds: float = 4):
    """Waits for the end of a program, stopped or not. If it hangs, the object tells more than its state."""
    lab.poll(lambda: at_rest(program), seconds)
    while program.state().phase == "stopped":
        program.leave_stop(seconds)
        lab.poll(lambda: at_rest(program), seconds)
    try:
        return program.wait(seconds)
    except CheckFailed as failure:
        failure.saw += slot(lab, name)
        raise


def finish(lab: LabFixture, mine, peer, name: str):
    """Waits for both; returns what the reader has printed. Nothing may be left."""
    pair = [mine, peer] if mine.name == "writer" else [peer, mine]
    runs = [ended(lab, program, name) for program in pair]
    for run in runs:
        run.require_success()
    left = lab.objects()
    require(not left, "the name is gone when the conversation is over", left)
    return runs[1].stdout


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    name = lab.name()
    reader = lab.start("reader", name, fail=FIRST_SLICE, interpose=NO_TIME)
    settle(reader, may_poll=True)
    writer = lab.start("writer", name, stdin=b"hello", interpose=NO_TIME, stop_at=AFTER_A_POST)
    writer.close_input()
    in_turns(writer, reader)
    ended(lab, writer, name).require_success()
    run = ended(lab, reader, name).require_success()
    require_bytes(run.stdout, b"hello", "your reader prints what your writer sends")
    for program in PEER:
        for words in [], [name, "x"]:
            lab.run(program, *words).require_usage()


@points(2, read="sem_wait(3), sem_post(3); handout, Background and Steps")
def test_writer_to_reference_reader(lab):
    """What the writer reads arrives unchanged at an unrelated reader, whichever program starts first."""
    for first in PEER:
        mine, peer, name = conversation(lab, "writer", first)
        printed = finish(lab, mine, peer, name)
        require_bytes(printed, b"".join(PIECES), f"everything arrives if the {first} starts first")
        destroyed = [call for call in mine.calls if call.name == "sem_destroy"]
        require(not destroyed, "the writer does not destroy the semaphores, which the reader still needs", destroyed)
    name = lab.name()
    writer = lab.start("writer", name, interpose=NO_TIME)
    require(not settle(writer, may_poll=True), "a writer with empty input posts the end and exits before a reader has come",
            writer.describe_state())
    writer.wait().require_success()
    fields = slot(lab, name)
    require(f"writer {writer.pid}," in fields[0], "the writer's pid stays in the object after the writer has ended", fields)
    lab.reference("reader", name).wait().require_success()


@points(2, read="sem_wait(3), sem_post(3), write(2); handout, Background and Steps")
def test_reader_from_reference_writer(lab):
    """The reader prints unchanged what an unrelated writer sends, whichever program starts first; then the name is gone."""
    for first in PEER:
        mine, peer, name = conversation(lab, "reader", first, fail=[("write", 0, -400)])
        printed = finish(lab, mine, peer, name)
        held = ", and the slot is filled again right after the first sem_post()" if first == "reader" else ""
        require_bytes(printed, b"".join(PIECES),
                      f"everything is printed if the {first} starts first and write() takes at most 400 bytes{held}")
        steps = [call for call in mine.calls if call.name == "sem_post" or call.name in WAITS and not call.failed]
        if any(call.name in WAITS for call in steps):
            require(steps[-1].name != "sem_post", "after the piece of length 0 the reader posts nothing more", steps[-1:])
    name = lab.name()
    mine = lab.start("reader", name, interpose=NO_TIME, **BEFORE_ITS_LOOK)
    settle(mine)
    lab.reference("writer", name).wait().require_success()
    run = ended(lab, mine, name)
    require(run.exit_status == 0, "a reader that finds its writer gone tries once more, and takes the end that was posted",
            "after the reader's time-out and before it checked the writer, the writer came, posted the end and exited",
            run.ending)


def explore_pair(lab: LabFixture):
    """Every order of the steps of a writer and a reader, from the first."""
    name, text = lab.name(), b"hello"
    for end in lab.every_schedule(("writer", name), ("reader", name), stdin=[text]):
        if end.timed_out or any(process.waits_privately for process in end.raw.processes):
            continue  # what becomes of a wait whose time is over, or that nobody can end, other checks look at
        end.require_all_ended("writer and reader find each other and end, whatever the order of their steps")
        for run in end.runs:
            run.require_success()
        require_bytes(end.runs[1].stdout, text, "the reader prints what the writer sends, whatever the order of their steps")
        require(not end.objects, "the name is gone when the conversation is over", *end.objects)


def join_at_once(lab: LabFixture, slow: str, point):
    """One of the student's programs is stopped while it joins, right after a call. The other comes meanwhile.

    Returns whether that one waits as it should after it has joined. How it waits is another check's matter.
    """
    name, quick = lab.name(), PEER[slow]
    both = {slow: lab.start(slow, name, stdin=b"hello" if slow == "writer" else None, stop_at=point, interpose=NO_TIME)}
    both[slow].wait_stopped()
    where = "before its first store in the object" if point[0] == "store" else f"after {point[0]}()"
    made = lab.object(name)
    story = f"the {slow} was stopped {where} while it joined, and the {quick} came: {made.line if made else 'no object yet'}"
    if point[0] == "sem_init":
        lines = slot(lab, name)
        require("ready 0," in lines[0], "`ready` is set last, after both semaphores are set up: if the process is killed "
                "earlier, the next one sets up both", lines, story)
    both[quick] = lab.start(quick, name, stdin=b"hello" if quick == "writer" else None, fail=FIRST_SLICE, interpose=NO_TIME)
    try:
        if not settle(both[quick]):
            require(False, f"the {quick} joins, and waits for its peer", both[quick].wait().ending)
        if both[quick].spins and struct.unpack_from("=i", lab.object_bytes(name), 4 if quick == "writer" else 8)[0]:
            for program in both.values():
                program.kill()
                program.wait()
            lab.unlink_object(name)
            return False
        require(not both[quick].spins, f"the {quick} sleeps until the {slow} has joined",
                f"it has used {both[quick].cpu_seconds():.2f} s of processor time and is still running")
        now = lab.object(name)
        require(not made or now and now.inode == made.inode,
                f"the {quick} uses the object that the {slow} has just created, and the object keeps its name",
                now and "that name is now another object: " + now.line or f"the object {name} no longer exists")
        for _ in range(8):  # more than there are mappings, each of which has a first store
            both[slow].resume()
            settle(both[slow])
            if both[slow].state().phase != "stopped":
                break
        reader = both["reader"]
        reader.wait_output(5)
        both["writer"].close_input()
        require_bytes(finish(lab, both[slow], both[quick], name), b"hello", f"the {quick} and the {slow} talk")
    except CheckFailed as failure:
        failure.saw.append(story)
        raise
    return True


@points(1, read="shm_open(3), mode; fcntl(2), F_SETLKW; handout, Background")
def test_joining(lab):
    """A new object has mode 0600, and two programs that join at once set it up once; a second writer or reader fails, and
    the existing pair continues."""
    explore_pair(lab)
    lab.reset()
    for program in PEER:
        name = lab.name()
        mine = lab.start(program, name, stdin=b"hello" if program == "writer" else None, umask=0, fail=FIRST_SLICE, interpose=NO_TIME,
                         stop_at=AFTER_A_POST if program == "writer" else None)
        settle(mine)
        made = lab.object(name)
        require(made and made.mode == 0o600, f"the {program} creates {name} with mode 0600, even with umask 000",
                made or ["it does not exist", *mine.describe_state()])
        if program == "reader":  # a writer may have taken its turn already
            lines = slot(lab, name)
            require("room 1," in lines[0], "in a new object room is 1", lines)
        inits = [call for call in mine.recorded() if call.name == "sem_init" and not call.failed]
        require(len(inits) != 2 or sorted(call.arguments[2] for call in inits) == [0, 1], "in a new object room is 1 and items 0",
                inits)
        role = struct.unpack_from("=2i", lab.object_bytes(name), 4)
        require(role == ((mine.pid, 0) if program == "writer" else (0, mine.pid)),
                f"the {program} stores its own pid, {mine.pid}, in its role's field, and does not change the other field", slot(lab, name))
        peer = lab.reference(PEER[program], name, stdin=b"hello" if program == "reader" else None)
        writer, reader = (mine, peer) if program == "writer" else (peer, mine)
        in_turns(mine, peer)
        reader.wait_output(5)
        now = lab.object(name)
        require(now and now.size == made.size, f"the {program} makes the object sizeof(struct pair) bytes large", made,
                "and after the peer has set its size, " + now.line if now else f"the object {name} no longer exists")
        second = lab.start(program, name, interpose=NO_TIME)
        taken = f"a second {program} prints a message and exits with status 1, because the place is taken"
        require(not settle(second, may_poll=True), taken, second.describe_state())
        run = second.wait()
        require(run.exit_status == 1 and run.stderr, taken, run.ending)
        now = lab.object(name)
        require(now and now.inode == made.inode, f"the second {program} does not unlink the name, which the pair still uses",
                now or f"the object {name} no longer exists")
        writer.send(b", again")
        reader.wait_output(12)
        writer.close_input()
        printed = finish(lab, mine, peer, name)
        require_bytes(printed, b"hello, again", f"the pair continues after a second {program} was refused")
        joining = dict.fromkeys(call.name for call in mine.calls)
        all(join_at_once(lab, program, point) for point in
            [(call, 1) for call in JOINING if call in joining] + [("store", 0)])


@points(1, read="sem_init(3), pshared; sem_timedwait(3); futex(2), FUTEX_PRIVATE_FLAG; handout, Background")
def test_sleeps_until_woken(lab):
    """A process that has to wait uses no processor time, and its peer can wake it."""
    both = [lab.start("writer", lab.name(), stdin=b"y" * 5000, fail=NOBODY_COMES),
            lab.start("reader", lab.name(), fail=NOBODY_COMES)]
    for mine in both:
        if not settle(mine) and any(call.injected for call in mine.recorded()):
            require(False, f"the {mine.name} waits as long as it takes for a peer that has not come yet",
                    "it ended after sem_timedwait() failed with ETIMEDOUT (this check made it fail)", mine.wait().ending)
        call = mine.wait_blocked(lambda call: call.in_futex)
        require(not call.private_futex,
                f"the {mine.name} waits on a semaphore that other processes can post",
                f"/proc/{mine.pid}/syscall: futex(…, {call.arguments[1]:#x}, …) has FUTEX_PRIVATE_FLAG (0x80): "
                "only threads of the same process can wake it")
        private = [call for call in mine.recorded() if call.name == "sem_init" and call.arguments[1] == 0]
        require(not private, f"the {mine.name} sets up both semaphores for several processes: pshared is not 0", private)
    lab.require_idle([(f"the {mine.name} waits", mine) for mine in both], 0.1)


def explore_deaths(lab: LabFixture):
    """A writer and a reader, one of which is killed at any step: the other ends as its part of the protocol says."""
    lab.reset()
    name, text = lab.name(), b"hello"
    for end in lab.every_schedule(("writer", name), ("reader", name), preemptions=0, deaths=1, stdin=[text]):
        victim = next((index for index, run in enumerate(end.runs) if run.killed), None)
        if victim is None or any(process.waits_privately for process in end.raw.processes):
            continue  # what becomes of these, other checks look at
        mine, role, place = end.runs[1 - victim], ("writer", "reader")[1 - victim], 4 + 4 * victim
        come = any(step.process == victim and step.kind in ("store", "update") and step.offset <= place < step.offset + step.size
                   for step in end.raw.steps)
        if not come:
            continue  # how long the other waits then is test_sleeps_until_woken's matter
        end.require_all_ended(f"the {role} ends if its peer joined and was then killed, at any step")
        posted = sum(step.process == 0 and step.kind == "sem_post" and not step.error for step in end.raw.steps)
        story = [f"the writer had posted {posted} of 2 pieces, the last of length 0", *mine.ending]
        if role == "reader":
            require_bytes(mine.stdout, text if posted else b"", "the reader prints each piece that its writer posted before it was "
                          "killed, and nothing else")
        require(mine.exit_status == (0 if posted > 1 else 1), f"the {role} ends with status 0 if the end was posted, otherwise with 1",
                story)
        if mine.exit_status == 1:
            require(mine.stderr, f"the {role} reports why it fails", story)
        if mine.exit_status == 1 or role == "reader":
            require(not end.objects, f"the {role} has removed the name", *end.objects, story)
    lab.reset()


@points(1, read="sem_timedwait(3), kill(2) and ESRCH; handout, Steps")
def test_peer_dies(lab):
    """If its peer is killed, the program fails within a second and removes the name; a posted piece is still printed."""
    explore_deaths(lab)
    started, waiting = [], []
    for program in PEER:
        name = lab.name()
        mine = lab.start(program, name, stdin=b"x" * 2000 if program == "writer" else None, stop_at=BEFORE_ITS_LOOK["stop_at"],
                         fail=[ANOTHER_USERS, *(BEFORE_ITS_LOOK["fail"] if program == "reader" else ())])
        while settle(mine):
            if struct.unpack_from("=i", lab.bytes_if_there(name) or bytes(12), 8 if program == "writer" else 4)[0] == 0:
                require(lab.object(name), f"the object {name} exists while the {program} waits", mine.describe_state())
                lab.set_object(name, struct.pack("=i", 1), at=8 if program == "writer" else 4)
            if mine.state().phase != "stopped":
                break
            mine.leave_stop()
        if mine.started.status is None:
            waiting.append((mine, mine.state().sleeps))
    for program, unlinked in [(program, unlinked) for program in PEER for unlinked in (True, False)]:
        name = lab.name()
        if program == "writer":
            mine = lab.start("writer", name, stdin=b"hello", stop_at=AFTER_A_POST)
            settle(mine)
            peer = lab.reference("reader", name)
            in_turns(mine, peer)
            peer.wait_output(5)
        else:
            mine = lab.start("reader", name, **BEFORE_ITS_LOOK)
            settle(mine)
            peer = lab.reference("writer", name, stdin=b"hello")
            settle(peer)
        started.append((mine, peer, name, unlinked))
    for mine, peer, name, unlinked in started:
        if unlinked:
            lab.unlink_object(name)
        peer.kill()
        peer.wait()
        if mine.name == "writer":
            mine.send(b"z" * 5000)
        mine.resume()
    for mine, peer, name, unlinked in started:
        run = ended(lab, mine, name, 2)
        require(run.exit_status == 1 and run.stderr, f"the {mine.name} fails if its peer was killed", run.ending)
        require(not any(os.strerror(number) in run.stderr for number in (0, errno.EAGAIN)),
                f"if the message includes a reason, it is {os.strerror(errno.ESRCH)}", run.ending)
        require(not unlinked or os.strerror(errno.ENOENT) not in run.stderr,
                "a name that is already gone is not a second error", run.ending)
        left = lab.object(name)
        require(not left, f"the {mine.name} removes the name after its peer was killed", left)
    require_bytes(run.stdout, b"hello", "the reader prints the piece that its writer had posted")
    for mine, slept in waiting:
        mine.require_waits_on(slept, "for a peer that exists but belongs to another user (kill() fails with EPERM)")


@points(1, read="sem_timedwait(3), EINTR; handout, Steps")
def test_interrupted_wait(lab):
    """A wait continues after a signal interrupts it."""
    for program in PEER:
        name = lab.name()
        mine = lab.start(program, name, stdin=b"hello" if program == "writer" else None, interpose=NO_TIME, stop_at=AFTER_A_POST,
                         fail=[("sem_timedwait", 1, errno.EINTR), ("sem_wait", 1, errno.EINTR), ("sem_timedwait", 2, errno.ETIMEDOUT)])
        settle(mine)
        peer = lab.reference(PEER[program], name, stdin=b"hello" if program == "reader" else None)
        in_turns(mine, peer)
        if program == "writer":
            peer.wait_output(5)  # the end of the input comes when the piece is through
        for end in mine, peer:
            end.close_input()
        in_turns(mine, peer)
        ended(lab, mine, name).require_success()
        reader = mine if program == "reader" else peer
        require_bytes(reader.wait_output(5), b"hello", f"the {program} does its work after EINTR")


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""

    def talk(program, **fault):
        name = lab.name()
        if program == "reader":
            fault.setdefault("fail", FIRST_SLICE)
        mine = lab.start(program, name, stdin=b"hello" if program == "writer" else None, interpose=NO_TIME, **fault)
        mine.close_input()
        settle(mine)
        return lab.run_with_peer(mine, name, lambda: lab.reference(
            PEER[program], name, stdin=b"hello" if program == "reader" else None))

    for program in PEER:
        lab.each_call_fails(lambda **fault: talk(program, **fault), "/shmlab")
        lab.reset()
        run = talk(program, fail=[("munmap", 1, errno.EINVAL), ("shm_unlink", 1, errno.EACCES)])
        run.require_each_failure_told()
        lab.reset()
        name = lab.name()
        made = lab.make_object(name, b"", mode=0)
        run = lab.run(program, name).require_failure("shm_open", name, because="the object's mode is 0: it cannot be opened")
        require(lab.object(name), "nothing is unlinked unless shm_open() has succeeded", made, f"{name} is gone", run.ending)
        lab.reset()
    run = lab.run("writer", lab.name(), stdin=lab.box.work_fd, interpose=NO_TIME)
    run.require_failure("read", "input", "stdin", "/shmlab", because="stdin is a directory: read() fails with EISDIR")
    run.left_behind.require_nothing()
    run = talk("reader", stdout="/dev/full")
    run.require_failure("write", "output", "stdout", "/shmlab", because="stdout is full")
    run.left_behind.require_nothing()
    for program in PEER:
        lab.run(program, "/no/such/name").require_failure("shm_open", "/no/such/name")
    if lab.private_ipc:
        lab.reset()
        lab.fill_shared_memory()
        for program in PEER:
            run = lab.run(program, lab.name()).require_failure("posix_fallocate", "/shmlab", because="/dev/shm is full")
            run.left_behind.require_nothing()

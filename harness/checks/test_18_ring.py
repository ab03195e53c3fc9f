"""Lab 18: a ring of messages between two unrelated programs that sleep while they wait and notice a dead peer."""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import select
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Dict, List, Tuple

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.require import CheckFailed, first_difference
from shmlab.judging.schedules import End
from shmlab.sandbox.kernel import FUTEX_CALLS, parse_blocked

PEER = {"ring_send": "ring_recv", "ring_recv": "ring_send"}
LINES = [b"first\n", b"with\0zero\0bytes\xff\n", b"\n", *[bytes([65 + i]) * 39 + b"\n" for i in range(4)],
         b"longer than the ring " * 9 + b"\n", b"last without newline"]
MESSAGE_MAX = 65536
COUNTS = 1 << 32
STALE = 0, errno.EAGAIN, errno.ETIMEDOUT, errno.ENOENT  # what errno is, or is said to be, when something else has failed

NOTICED_SECONDS = 2.0  # for what has to be noticed within a second; a program that does not come to its turn has more
ENDS: Dict[Tuple[Path, str], List[End]] = {}  # of explore_ring(), by submission and compiler
SHORT = 2048  # bytes in a ring that is shorter than most messages
SLOWEST = SHORT / 0.1  # bytes a second if nobody is woken: one ring in each slice
SLEEPS = 11  # of 100 ms: more than a second
SHORT_SLICES = ("short_slices",)  # for runs that look neither at how long a program sleeps nor at what it makes of a peer's end
WAITS = 0, 9  # FUTEX_WAIT, FUTEX_WAIT_BITSET
WAKES = 1, 10

# Where things are in an object, in words of four bytes; see struct ring.
CAPACITY, SENDER, RECEIVER, SENT, FULL_AT, TAKEN, EMPTY_AT, BYTES = 0, 1, 2, 16, 17, 32, 33, 48
PLACE = {"ring_send": SENDER, "ring_recv": RECEIVER}


def message(content: bytes) -> bytes:
    """A message as it lies in the ring; the empty one is the end."""
    return struct.pack("=I", len(content)) + content


def ring(capacity: int, begin: int = 0, content: bytes = b"", **words: int) -> bytes:
    """An object that holds a ring, with some content whose first byte is number `begin`, and other words."""
    head = [0] * BYTES
    head[CAPACITY], head[SENT], head[TAKEN] = capacity, (begin + len(content)) % COUNTS, begin % COUNTS
    for name, value in words.items():
        head[globals()[name.upper()]] = value
    body = bytearray(capacity)
    for number, byte in enumerate(content, begin):
        body[number % capacity] = byte
    return struct.pack(f"={BYTES}I", *head) + body


def content_of(raw: bytes) -> bytes:
    """What is in the ring of an object."""
    head = struct.unpack_from(f"={BYTES}I", raw)
    count, capacity = (head[SENT] - head[TAKEN]) % COUNTS, head[CAPACITY]
    return bytes(raw[4 * BYTES + (head[TAKEN] + i) % COUNTS % capacity] for i in range(min(count, capacity)))


class Words:
    """The words at the start of an object. They are read and written as a file: a program that cuts the object short must
    not kill us with SIGBUS."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        os.close(self._fd)

    def __getitem__(self, place: int) -> int:
        raw = os.pread(self._fd, 4, 4 * place)
        require(len(raw) == 4, "the object keeps its size", f"it has {os.fstat(self._fd).st_size} bytes now")
        return int.from_bytes(raw, sys.byteorder)

    def __setitem__(self, place: int, value: int) -> None:
        os.pwrite(self._fd, (value % COUNTS).to_bytes(4, sys.byteorder), 4 * place)


class Shared:
    """An object that the check itself has mapped: it can be the peer that sleeps, or that wakes."""

    libc = ctypes.CDLL(None, use_errno=True)
    number = FUTEX_CALLS.get(os.uname().machine, -1)

    def __init__(self, lab: LabFixture, name: str, content: bytes) -> None:
        lab.make_object(name, content)
        fd = os.open(name[1:], os.O_RDWR | os.O_CLOEXEC, dir_fd=lab.box.shm_fd)
        self._mapped = (ctypes.c_uint32 * BYTES).from_buffer(mmap.mmap(fd, 4 * BYTES))  # only the kernel looks into it
        self.words = Words(fd)

    def _futex(self, place: int, operation: int, value: int, timeout: object) -> int:
        return self.libc.syscall(ctypes.c_long(self.number), ctypes.c_void_p(ctypes.addressof(self._mapped) + 4 * place),
                                 ctypes.c_long(operation), ctypes.c_long(value), timeout, None, ctypes.c_long(0))

    def wake(self, place: int) -> int:
        """FUTEX_WAKE for one sleeper; returns how many there were."""
        return self._futex(place, 1, 1, None)

    def is_woken_by(self, lab: LabFixture, place: int, act) -> bool:
        """Sleeps on a word, and when it sleeps, lets a program do something. Tells whether the program woke it up.

        `act` gives the program, which has to change the word. When it has done so and sleeps or has ended, it has
        woken whom it wakes.
        """
        before = self.words[place]
        outcome = []

        def sleep() -> None:
            outcome.append(threading.get_native_id())
            outcome.append(self._futex(place, 0, self.words[place], (ctypes.c_long * 2)(3, 0)))

        def is_asleep() -> bool:
            if len(outcome) != 1:
                return False
            try:
                with open(f"/proc/self/task/{outcome[0]}/syscall", "rb") as file:
                    call = parse_blocked(file.read())
            except OSError:  # it has just been woken, and has ended
                return False
            address = ctypes.addressof(self._mapped) + 4 * place
            return call is not None and call.in_futex and call.arguments[0] == address

        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        lab.poll(lambda: is_asleep() or len(outcome) == 2, 4)
        program = act()

        def has_published() -> bool:
            return len(outcome) == 2 or self.words[place] != before or program.started.status is not None

        def has_gone_on() -> bool:
            call = program.blocked()
            waits = call is not None and (call.in_futex or call.reads_input)  # and not only pauses for a moment
            return waits or not is_asleep() or program.started.status is not None or program.spins

        lab.poll(has_published, 3)
        lab.poll(has_gone_on, 3)
        woken = not is_asleep()  # whoever is woken is ready to run from that moment on, or has run already
        if not woken:
            self.wake(place)
        sleeper.join()
        return woken and outcome[1] == 0


def futex_operation(call) -> int:
    """The operation of a recorded call of futex(2) by syscall(), such as 1 for FUTEX_WAKE, without its flags; else -1."""
    return call.arguments[2] & 0x7F if call.name == "syscall" and call.arguments[0] == Shared.number else -1


def loses_no_wake_up(lab: LabFixture, program: str, raw: bytes, mine: int, theirs: int) -> None:
    """A program that is about to sleep first wakes its peer. It is stopped there: its new count has to be in the ring. Then
    the peer does what the program would wait for, and as nobody sleeps yet, wakes nobody: the program must not sleep."""
    name = lab.name()
    shared = Shared(lab, name, raw)
    old = shared.words[mine]
    program = start(lab, program, name, 64, True, stdin=b"hello\n" if program == "ring_send" else None,
                    stop_at=("syscall", 0))

    def futex(operations):
        return [call for call in program.recorded() if futex_operation(call) in operations]

    word = "sent" if mine == SENT else "taken"
    while True:
        program.wait_stopped()
        woken, slept, told = futex(WAKES), futex(WAITS), shared.words[mine] != old
        require(not (woken and slept and told), f"the new `{word}` is stored before the peer is woken, which reads it then",
                woken + slept)
        require(not slept, f"{program.name} stores a new `{word}` and wakes its peer before it sleeps itself", woken + slept,
                f"`{word}` is {shared.words[mine]}" + ("" if told else " as before"))
        if woken and told:
            break
        program.resume()
    new = shared.words[mine]
    shared.words[theirs] += 2
    program.resume()
    lab.poll(lambda: shared.words[mine] != new or futex(WAITS) or
             program.started.status is not None, 4)
    lost = [call for call in futex(WAITS) if call.error == errno.ETIMEDOUT and shared.words[mine] == new]
    require(not lost, f"{program.name} does not fall asleep if its peer has changed the count since it was loaded",
            lost, "it slept until its time was up, although there was work")
    program.kill()
    program.wait()


def nobody_comes(lab: LabFixture, program: str, raw: bytes, **options):
    """Starts a program that has to wait for its peer, of which each of the first sleeps ends with ETIMEDOUT at once, as if
    100 ms had gone by. Returns the object, and the program.

    Which of its system calls are sleeps it tells only when it makes them; what else it asks for can have no such error. So
    it is started again as long as a call has been made to fail that was not a sleep.
    """
    others = set()
    while True:
        name = lab.name()
        shared = Shared(lab, name, raw)
        places = [nth for nth in range(1, SLEEPS + len(others) + 1) if nth not in others]
        started = start(lab, program, name, 64, True, fail=[("syscall", nth, errno.ETIMEDOUT) for nth in places], **options)

        def made():
            return [call for call in started.recorded() if call.name == "syscall"]

        def decided() -> bool:
            call = started.blocked()
            sleeps = call is not None and call.in_futex or started.state().sleeps > 10 * SLEEPS
            return started.started.status is not None or sleeps or len(made()) > max(places) or started.spins

        lab.poll(decided, 4)
        wrong = {nth for nth, call in enumerate(made(), 1) if call.injected and futex_operation(call) not in WAITS}
        if not wrong or len(others) > 5 * SLEEPS:
            return shared, started
        others |= wrong
        started.kill()
        started.wait()


def longest_sleep(lab: LabFixture, program) -> float:
    """For how many seconds a program that sleeps in a futex does so at most; 0 where that cannot be told."""
    found = []

    def look() -> bool:
        before, call = program.state(), program.blocked()
        if before.phase == "waits" and call is not None and call.in_futex:
            if call.arguments[3] == 0:
                found.append(float("inf"))
                return True
            try:
                fd = lab.box.open(f"/proc/{program.pid}/mem")
                try:
                    raw = os.pread(fd, 16, call.arguments[3])
                finally:
                    os.close(fd)
            except OSError:
                return program.started.status is not None
            if len(raw) == 16 and program.state() == before:  # else it has not slept all the while
                seconds, nanoseconds = struct.unpack("=qq", raw)
                operation = call.arguments[1] & ~0x80
                passed = {0: 0.0, 9: time.clock_gettime(time.CLOCK_MONOTONIC)}.get(operation)
                found.append(0.0 if passed is None else seconds + nanoseconds / 1e9 - passed)
                return True
        return program.started.status is not None

    lab.poll(look, 2)
    return found[0] if found else 0.0


def fills_and_empties(lab: LabFixture) -> None:
    """A sender that sleeps has filled the ring, and a receiver that sleeps has emptied it, however much was in it."""
    capacity = 8
    for filled in range(1), range(1, capacity + 1):  # who spins is known after the first two
        peer, waiting = somebody(lab), []
        for used in filled:
            waiting += [(begin_with(lab, program, capacity, used, peer), used) for program in PEER]
        for (program, name), used in waiting:
            require_rests(lab, program, name, capacity, used)
            program.kill()


def begin_with(lab: LabFixture, program: str, capacity: int, used: int, peer):
    """Starts the student's sender or receiver on a ring with so many bytes in it. Returns it and the ring's name."""
    line = b"longer than this ring\n"
    name, sends = lab.name(), program == "ring_send"
    content = b"x" * used if sends else message(line)[:used]
    lab.make_object(name, ring(capacity, COUNTS - 5 + used, content, **{"receiver" if sends else "sender": peer.pid}))
    return start(lab, program, name, capacity, True, stdin=line if sends else None), name


def require_rests(lab: LabFixture, program, name: str, capacity: int, used: int) -> None:
    """A sender comes to rest when the ring is full, and a receiver when it is empty."""
    wanted = capacity if program.name == "ring_send" else 0

    def count() -> int:
        head = struct.unpack(f"={BYTES}I", (lab.bytes_if_there(name, 4 * BYTES) or bytes(4 * BYTES)).ljust(4 * BYTES, b"\0"))
        return (head[SENT] - head[TAKEN]) % COUNTS

    def at_rest() -> bool:
        call = program.blocked()
        return count() == wanted or call is not None and call.in_futex or program.started.status is not None or program.spins

    lab.poll(at_rest, 4)
    if program.started.status is not None:
        require(False, f"{program.name} waits when the ring is {'full' if wanted else 'empty'}",
                f"of {capacity} bytes {used} were in the ring when it came, and its peer was there",
                program.wait().ending)
    require(count() == wanted, f"{program.name} sleeps only when the ring is {'full to its last byte' if wanted else 'empty'}",
            f"of {capacity} bytes {used} were in the ring when it came, and {count()} are now", program.describe_state())


def last_look(lab: LabFixture) -> None:
    """A receiver that takes all and ends, in the moment in which the sender has asked whether it is still there."""
    name, pid = lab.name(), gone(lab)
    shared = Shared(lab, name, ring(64, 7000, receiver=pid))
    sender = start(lab, "ring_send", name, 64, True, stop_at=[("kill", 0), ("syscall", 0)])
    sender.close_input()
    looked = False

    def is_stopped() -> bool:
        """It never has to wait here: it comes to the next call, or to its end."""
        lab.poll(lambda: sender.state().phase == "stopped" or sender.started.status is not None or sender.spins, 4)
        return sender.state().phase == "stopped"

    while is_stopped():
        call = sender.recorded()[-1]
        if shared.words[SENT] != 7000 and (call.name == "kill" or call.arguments[0] != Shared.number):
            looked, shared.words[TAKEN] = True, shared.words[SENT]
        sender.resume()
    run = sender.wait()
    require(not looked or run.exit_status == 0, "ring_send exits with status 0 if its receiver has taken everything and is gone",
            "the receiver took the end and exited; `taken` equalled `sent` when kill() reported that", run.ending)


def start(lab: LabFixture, program: str, name: str, capacity: int, mine: bool, **options):
    """Starts one of the two, the student's or the reference; a sender reads from a pipe."""
    words = [name, capacity] if program == "ring_send" else [name]
    options.setdefault("stdin", b"" if program == "ring_send" else None)
    return (lab.start if mine else lab.reference)(program, *words, **options)


def join(lab: LabFixture, program: str, name: str, capacity: int, mine: bool, **options):
    """Starts one of the two and waits until it has taken its place, or has ended."""
    started = start(lab, program, name, capacity, mine, **options)
    place = 4 * PLACE[program]
    lab.poll(lambda: started.started.status is not None or any(
        (lab.bytes_if_there(name, 4 * BYTES) or b"")[place:place + 4]), 4)
    return started


def waits_long(program) -> None:
    """Waits until a program, one with SHORT_SLICES, has slept so often that a second would be over, or does not sleep."""
    slept = program.state().sleeps
    program.fixture.poll(lambda: program.state().sleeps > slept + SLEEPS or program.started.status is not None or program.spins, 4)


def somebody(lab: LabFixture):
    """A process that is there, and that belongs to the same user."""
    return join(lab, "ring_recv", lab.name(), 64, False)


def gone(lab: LabFixture) -> int:
    """The pid of a process that was here and is not any more."""
    run = lab.reference("ring_send")
    run.wait()
    return run.pid


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    name = lab.name()
    sender = join(lab, "ring_send", name, 64, True, stdin=b"hello\n", interpose=SHORT_SLICES)
    receiver = join(lab, "ring_recv", name, 64, True, interpose=SHORT_SLICES)
    sender.close_input()
    runs = [program.wait() for program in (receiver, sender)]
    for run in runs:
        run.require_success()
    require_bytes(runs[0].stdout, b"hello\n", "your receiver prints what your sender sends")
    for words in [], [name, "x"]:
        lab.run("ring_recv", *words).require_usage()
    for words in [], [name], [name, 4, 4], [name, 0], [name, 3], [name, "-4"], [name, "4k"], [name, 1 << 27]:
        lab.run("ring_send", *words).require_usage()


def require_arrived(printed: bytes, sent: bytes, capacity: int, what: str) -> None:
    """What a receiver has printed is what was sent. If not, the failure reports where in the ring the first wrong byte was."""
    try:
        require_bytes(printed, sent, what)
    except CheckFailed as failure:
        at = first_difference(printed, sent)
        number = at + 4 * (1 + sent[:at].count(b"\n"))  # each line so far with its length before it
        failure.saw.append(f"it has number {number} in the count `sent`, and belongs in bytes[{number % capacity}]; "
                           f"the one before it in bytes[{(number - 1) % capacity}]")
        raise


def conversation(lab: LabFixture, program: str, first: str) -> None:
    """A student's program with the reference peer, one of the two first; all lines have to arrive."""
    name, pair = lab.name(), {}
    for turn in first, PEER[first]:
        pair[turn] = join(lab, turn, name, 64, turn == program, interpose=SHORT_SLICES)
        if turn == first == "ring_send":
            pair[turn].send(b"".join(LINES))
            # It has to wait for room, as nobody is there to take anything.
            pair[turn].wait_blocked(lambda call: call.in_futex)
        if turn == first == program:
            waits_long(pair[turn])
    sender, receiver = pair["ring_send"], pair["ring_recv"]
    if first == "ring_recv":
        for number, line in enumerate(LINES[:-1], 1):
            sender.send(line)
            receiver.wait_output(len(b"".join(LINES[:number])))
        sender.send(LINES[-1])
    sender.close_input()
    runs = [ended.wait().require_success() for ended in (sender, receiver)]
    require_arrived(runs[1].stdout, b"".join(LINES), 64, f"everything arrives if {first} is first")
    left = lab.objects()
    require(not left, "the name is gone when the conversation is over", left)


@points(1, read="handout, The protocol: Messages, Waiting")
def test_sender_to_reference_receiver(lab):
    """Every line that the sender reads arrives at once and unchanged at an unrelated receiver, whichever is first."""
    for first in PEER:
        conversation(lab, "ring_send", first)
        lab.reset()


@points(1, read="handout, The protocol: Messages, Waiting, The end")
def test_receiver_from_reference_sender(lab):
    """What an unrelated sender sends is printed at once and unchanged, whichever is first; then the name is gone."""
    for first in PEER:
        conversation(lab, "ring_recv", first)
        lab.reset()


@points(1, read="handout, The protocol: The ring")
def test_every_offset(lab):
    """A ring can be full to its last byte, from every offset, and its counts continue from 4294967295 to 0."""
    capacity, line, pid = 16, b"abcdefg\n", gone(lab)
    wanted = message(line) + message(b"")
    begins = range(COUNTS - capacity, COUNTS)
    where = [f"{len(wanted)} bytes in a ring of {capacity}, from offset {begin % capacity}: " for begin in begins]
    names = [lab.name() for _ in begins]
    for begin, name in zip(begins, names):
        lab.make_object(name, ring(capacity, begin, receiver=begin % 2))  # process 1 is always there
    senders = [start(lab, "ring_send", name, capacity, True, stdin=line) for name in names]
    for sender in senders:
        sender.close_input()
    for begin, name, what, sender in zip(begins, names, where, senders):
        require(lab.settle(sender) == "ended",
                what + "the sender has room for everything, and exits without waiting for a receiver", sender.describe_state())
        sender.wait().require_success()
        found = content_of(lab.object_bytes(name))
        try:
            require_bytes(found, wanted, what + "the sender has put there")
        except CheckFailed as failure:
            n = first_difference(found, wanted)
            if 0 < n < min(len(found), len(wanted)):
                failure.saw.append(f"byte {n} belongs in bytes[{(begin + n) % capacity}]; the one before it in "
                                   f"bytes[{(begin + n - 1) % capacity}]")
            raise
    for begin, name in zip(begins, names):
        lab.make_object(name + "r", ring(capacity, begin, wanted, sender=pid))
    receivers = [start(lab, "ring_recv", name + "r", capacity, True) for name in names]
    for what, receiver in zip(where, receivers):
        require_bytes(receiver.wait().stdout, line, what + "the receiver prints")
        receiver.wait().require_success()
    lab.reset()
    fills_and_empties(lab)


def kept_waiting(*programs) -> float:
    """For how many seconds these and this process were ready to run, and others had the processor: see proc(5)."""
    with open("/proc/self/schedstat", "rb") as file:
        raw = [file.read()]
    for program in programs:
        try:
            raw.append(program.fixture.box.read(f"/proc/{program.pid}/schedstat"))
        except OSError:
            pass  # it has ended
    return sum(int(line.split()[1]) for line in raw) / 1e9


def carry(sender, receiver, content: bytes, seconds: float) -> None:
    """Feeds the sender, and compares what the receiver prints as it comes. On a busy machine that may take longer."""
    into, fed, arrived, end = sender.started.stdin, 0, 0, time.monotonic() + seconds
    before = kept_waiting(sender, receiver)

    def in_time() -> bool:
        late = time.monotonic() - end
        moves = arrived > 10 * SLOWEST * (late + seconds)  # it may pause now and then
        return late < 0 or moves or late < kept_waiting(sender, receiver) - before

    out = next(fd for fd, number in receiver.started.pipes.items() if number == 1)
    for fd in into, out:
        try:
            fcntl.fcntl(fd, 1031, 1 << 20)  # F_SETPIPE_SZ: fewer turns for us
        except OSError:
            pass
    os.set_blocking(into, False)
    view = memoryview(content)
    while arrived < len(content) and in_time():
        ready = select.select([out], [into] if fed < len(content) else [], [], 0.1)
        if ready[1]:
            try:
                fed += os.write(into, view[fed:fed + (1 << 20)])
            except BrokenPipeError:
                break
            if fed == len(content):
                sender.close_input()
        if ready[0]:
            piece = os.read(out, 1 << 20)
            if not piece:
                break
            wanted = content[arrived:arrived + len(piece)]
            if piece != wanted:
                at = next(i for i, pair in enumerate(zip(piece, wanted)) if pair[0] != pair[1])
                require_bytes(piece[at:at + 60], wanted[at:at + 60], f"what arrives from byte {arrived + at} on")
            arrived += len(piece)
    if arrived < len(content):
        ended = [line for one in (sender, receiver) if one.started.status is not None for line in one.wait().ending]
        require(False, f"{len(content)} bytes arrive", f"{arrived} bytes did, within {time.monotonic() - end + seconds:.1f} s", ended,
                *sender.describe_state())


def explore_ring(lab: LabFixture):
    """Every order of the steps of both, where memory is as weak as C11 allows, through a ring of 4 bytes. Yields the ends.

    Two checks look at them. The second one need not run all that again.
    """
    key = lab.submission, lab.cc
    if key in ENDS:
        yield from lab.once_more(ENDS[key])
        return
    lab.reset()
    name, ends = lab.name(), []
    for end in lab.every_schedule(("ring_send", name, 4), ("ring_recv", name), preemptions=1, stdin=[b"ab\n"], weak=True):
        ends.append(end)
        yield end
    if lab.explored:
        ENDS[key] = ends
    lab.reset()


@points(1, read="handout, The protocol")
def test_megabytes(lab):
    """Many megabytes in lines of all lengths arrive whole and in order through a ring shorter than most of them."""
    for end in explore_ring(lab):
        if end.timed_out and end.runs[1].exit_status == 1:
            continue  # it has given up, as its time was over: other checks look at that
        end.require_all_ended("sender and receiver end, whatever the order of their steps")
        end.runs[1].require_success()  # what the sender makes of a receiver that is gone, last_look() asks
        require_bytes(end.runs[1].stdout, b"ab\n", "what arrives is what was sent, whatever the order of their steps")
    some = random.Random(18)
    lines = [some.randbytes(some.randrange(1 << some.randrange(1, 17))).replace(b"\n", b"\r") for _ in range(300)]
    lines += [bytes(MESSAGE_MAX - 1)]
    block = b"\n".join(lines) + b"\n"
    content = b"".join(b"%d\n" % number + block for number in range((4 << 20) // len(block)))
    for program in PEER:
        name, pair = lab.name(), {}
        lab.make_object(name, ring(SHORT, 1000))  # even if each fills it before the other empties it, that goes across its end
        for turn in PEER:
            pair[turn] = join(lab, turn, name, SHORT, turn == program, interpose=SHORT_SLICES)
        carry(pair["ring_send"], pair["ring_recv"], content, 10 if lab.san else 2.5)
        for ended in pair.values():
            require_bytes(ended.wait().require_success().stdout, b"", "nothing is printed after the last line")
        lab.reset()


@points(1, read="futex(2): FUTEX_WAIT, FUTEX_WAKE, FUTEX_PRIVATE_FLAG; handout, The protocol: Waiting")
def test_waits_asleep(lab):
    """A process that waits sleeps in a futex without using the processor, can be woken, and wakes its peer."""
    for end in explore_ring(lab):
        if all(run.exit_status == 0 for run in end.runs):
            end.require_no_overslept()
    waiting, objects = [], []
    for program, raw in ("ring_send", ring(64, 1000, b"x" * 64)), ("ring_recv", ring(64, 2000)):
        shared, started = nobody_comes(lab, program, raw, stdin=b"hello\n" if program == "ring_send" else None)
        waiting.append(started)
        objects.append(shared)
    for program in waiting:
        lab.settle(program)
        if program.started.status is not None and any(call.injected for call in program.recorded()):
            require(False, f"{program.name} waits as long as it takes for a peer that has not come yet",
                    "it ended after its sleeps had failed with ETIMEDOUT, one after the other (this check made them fail)",
                    program.wait().ending)
        program.wait_for_others(f"{program.name} waits on a futex that another process can wake")
        longest = longest_sleep(lab, program)
        require(longest <= 1, f"{program.name} checks its peer after 100 ms, unless it was woken before",
                f"it sleeps for {longest:.1f} s" if longest < float("inf") else "it sleeps without a time limit")
    slept, began = [program.state().sleeps for program in waiting], time.monotonic()
    lab.require_idle([(f"{program.name} waits", program) for program in waiting])
    seconds = time.monotonic() - began
    for program, before in zip(waiting, slept):
        woke = program.state().sleeps - before
        require(woke <= 80 * seconds, f"{program.name} sleeps until it is woken, and checks its peer every 100 ms",
                f"in {seconds * 1000:.0f} ms it woke up {woke} times")
    for program, shared, place, word, note in (waiting[0], objects[0], TAKEN, "taken", FULL_AT), \
                                              (waiting[1], objects[1], SENT, "sent", EMPTY_AT):
        require(shared.words[note] == shared.words[place], f"while {program.name} sleeps, its note has the value on which it sleeps",
                f"{word} is {shared.words[place]}, {'full_at' if note == FULL_AT else 'empty_at'} {shared.words[note]}")
        require(lab.poll(lambda: shared.wake(place) == 1, 2), f"FUTEX_WAKE of `{word}` finds {program.name}",
                "for 2 s it found no process asleep there")
    lab.reset()

    full, empty = lab.name(), lab.name()
    shared = Shared(lab, empty, ring(64, 0, empty_at=0))
    sender = join(lab, "ring_send", empty, 64, True)
    require(shared.is_woken_by(lab, SENT, lambda: sender.send(b"hello\n") or sender), "ring_send wakes a receiver that sleeps",
            f"it did not; sent is {shared.words[SENT]}, empty_at {shared.words[EMPTY_AT]}", *sender.describe_state())
    shared = Shared(lab, full, ring(64, 0, message(b"hello\n"), full_at=0))
    require(shared.is_woken_by(lab, TAKEN, lambda: join(lab, "ring_recv", full, 64, True)),
            "ring_recv wakes a sender that sleeps",
            f"it did not; taken is {shared.words[TAKEN]}, full_at {shared.words[FULL_AT]}")
    lab.reset()
    loses_no_wake_up(lab, "ring_send", ring(64, 5000, b"x" * 60, empty_at=5060), SENT, TAKEN)
    loses_no_wake_up(lab, "ring_recv", ring(64, 6000, message(b"two\n"), sent=6006, full_at=6000), TAKEN, SENT)
    lab.reset()

    name = lab.name()
    sender = join(lab, "ring_send", name, 1, True, stdin=b"a ring of 1 byte\n", interpose=SHORT_SLICES)
    receiver = join(lab, "ring_recv", name, 1, True, interpose=SHORT_SLICES)
    sender.close_input()
    sender.wait().require_success()
    require_bytes(receiver.wait().stdout, b"a ring of 1 byte\n", "what passes a ring of 1 byte")


def fails(program, why: str, printed: bytes = b"") -> None:
    """The program has to end with an error. Its start does not count, which may take long on an emulated machine."""
    program.fixture.settle(program)
    run = program.wait(NOTICED_SECONDS)
    require("TODO" not in run.stderr, "the program is finished", run.ending)
    require(run.exit_status == 1 and run.stderr, f"{program.name} fails if {why}", run.ending)
    stale = [os.strerror(number) for number in STALE if os.strerror(number) in run.stderr]
    require(not stale, "if the message includes a reason, it is the true one", f"it is not “{''.join(stale[:1])}”: {why}",
            run.ending)
    require_bytes(run.stdout, printed, f"what {program.name} has printed if {why}")


def explore_deaths(lab: LabFixture):
    """A sender and a receiver, one of which is killed at any step: the other ends as the protocol says."""
    lab.reset()
    name, line = lab.name(), b"ab\n"
    whole, everything = 4 + len(line), 8 + len(line)  # bytes: the message, and the end after it
    for end in lab.every_schedule(("ring_send", name, 4), ("ring_recv", name), preemptions=0, deaths=1, stdin=[line]):
        victim = next((index for index, run in enumerate(end.runs) if run.killed), None)
        if victim is None:
            continue
        mine, role = end.runs[1 - victim], ("ring_send", "ring_recv")[1 - victim]

        def stores(process, offset):
            """The values that a process has stored at an offset, with where in the schedule."""
            return [(at, step.after) for at, step in enumerate(end.raw.steps)
                    if step.process == process and step.kind in ("store", "update") and step.offset == offset]

        if not stores(victim, 4 * (SENDER, RECEIVER)[victim]):
            continue  # it has not come: how long the other waits is test_waits_asleep's matter
        end.require_all_ended(f"{role} ends if its peer joined and was then killed, at any step")
        sent, taken = stores(0, 4 * SENT), stores(1, 4 * TAKEN)
        published = sent[-1][1] if sent else 0
        story = [f"sent is {published}, of {everything} bytes with the end; taken is {taken[-1][1] if taken else 0}", *mine.ending]
        if role == "ring_recv":
            require_bytes(mine.stdout, line if published >= whole else b"", "each message that was sent completely before the sender "
                          "was killed is printed, and nothing else")
            require(mine.exit_status == (0 if published >= everything else 1), "ring_recv exits with status 0 if it has taken the "
                    "end, otherwise with 1", story)
        else:
            died = next(at for at, step in enumerate(end.raw.steps) if step.process == victim and step.kind == "end")
            late = bool(sent) and died < sent[-1][0] and (not taken or taken[-1][1] != published)
            allowed = [1] if published < everything or late else [0, 1]
            require(mine.exit_status in allowed, "ring_send fails if the receiver is gone and has not taken everything", story)
        if mine.exit_status == 1:
            require(mine.stderr, f"{role} reports why it fails", story)
        if mine.exit_status == 1 or role == "ring_recv":
            require(not end.objects, f"{role} has removed the name", *end.objects, story)
    lab.reset()


@points(1, read="kill(2) and ESRCH; handout, The protocol: Waiting, The end")
def test_peer_dies(lab):
    """If its peer is killed, the program fails within a second of waiting for it, and removes the name."""
    explore_deaths(lab)
    last_look(lab)
    lab.reset()
    # kill() of a process of another user fails with EPERM: it is there.
    full, empty, another_users = lab.name(), lab.name(), ("kill", 0, errno.EPERM)
    lab.make_object(full, ring(64, receiver=1))
    lab.make_object(empty, ring(64, 0, sender=1))
    waiting = [start(lab, "ring_send", full, 64, True, stdin=b"z" * 99 + b"\n", fail=another_users),
               start(lab, "ring_recv", empty, 64, True, fail=another_users)]
    lab.settle(*waiting)
    slept = [program.state().sleeps for program in waiting]
    peers, mine, names = [], [], []
    for turn in "ring_recv", "ring_recv", "ring_send", "ring_recv", "ring_send":
        name = lab.name()
        names.append(name)
        peers.append(join(lab, turn, name, 64, False))
        mine.append(join(lab, PEER[turn], name, 64, True))
        sender, receiver = (peers[-1], mine[-1]) if turn == "ring_send" else (mine[-1], peers[-1])
        sender.send(b"hello\n")
        receiver.wait_output(6)
        lab.settle(receiver)
    for name in names[3:]:
        lab.unlink_object(name)
    for peer in peers:
        peer.kill()
        peer.wait()
    mine[0].send(b"z" * 99 + b"\n")
    mine[3].send(b"z" * 99 + b"\n")
    for program in mine[0], mine[1], mine[3]:
        program.close_input()
    fails(mine[0], "the ring is full and the receiver was killed")
    fails(mine[1], "its input ends and the receiver was killed before it took everything")
    fails(mine[2], "the ring is empty and the sender was killed", b"hello\n")
    fails(mine[3], "the receiver was killed, and the name is already gone, which is not a second error")
    fails(mine[4], "the sender was killed, and the name is already gone, which is not a second error", b"hello\n")
    for program, before in zip(waiting, slept):
        program.require_waits_on(before, "for a peer that exists but belongs to another user (kill() fails with EPERM)")
    left = [item for item in lab.objects() if item.name not in (full, empty)]
    require(not left, "a program whose peer was killed removes the name", left)


@points(1, read="handout, The protocol: Messages, Waiting")
def test_last_words(lab):
    """Messages that are in the ring when their sender dies are printed, but only whole ones."""
    pid, half, last, peer = gone(lab), lab.name(), lab.name(), somebody(lab)
    lab.make_object(half, ring(64, 0, message(b"whole\n") + message(b"half of a line\n")[:-3], sender=pid))
    content = message(b"last words\n") + message(b"")
    shared = Shared(lab, last, ring(64, 0, content, sent=0, sender=peer.pid))
    receiver = start(lab, "ring_recv", last, 64, True)
    lab.settle(receiver)
    # A sender that dies before it wakes anybody.
    shared.words[SENT] = len(content)
    peer.kill()
    peer.wait()
    fails(start(lab, "ring_recv", half, 64, True), "the sender died in the middle of a message", b"whole\n")
    run = receiver.wait(NOTICED_SECONDS)
    require_bytes(run.stdout, b"last words\n", "what the sender sent just before it died is printed")
    run.require_success()


@points(1, read="handout, The protocol: The ring, Messages")
def test_believes_no_number(lab):
    """A message that is too long and an impossible count are errors, and do no harm."""
    long, pid, name = bytes(MESSAGE_MAX + 1), gone(lab), lab.name()
    receiver = join(lab, "ring_recv", name, 1 << 17, False)
    sender = join(lab, "ring_send", name, 1 << 17, True)
    sender.send(b"before\n" + long)
    sender.close_input()
    fails(sender, f"a line has {len(long)} bytes")
    full = lab.name()
    lab.make_object(full, ring(32))
    sender = start(lab, "ring_send", full, 32, True, stdin=b"x" * 25 + b"\n")  # leaves two bytes free
    sender.send(long)
    sender.close_input()
    fails(sender, f"the ring is nearly full and a line has {len(long)} bytes, none of which must be sent")
    longer, longest = message(b"before\n") + message(long) + message(b""), message(b"before\n") + b"\xff" * 8
    for program, raw, why, printed in (
            ("ring_recv", ring(1 << 17, 0, longer, sender=pid), "a message has one byte too many", b"before\n"),
            ("ring_recv", ring(64, 0, longest, sender=pid), "a message's length is 4294967295", b"before\n"),
            ("ring_recv", ring(64, 7, b"", sender=pid, sent=7 + 65), "by its counts a ring of 64 bytes holds 65", b""),
            ("ring_recv", bytes(4) + ring(64, 7, b"", sender=pid, sent=7 + 5)[4:], "by its counts a ring of 0 bytes holds 5", b""),
            ("ring_send", ring(64, 7, b"", sent=7 + 65), "by its counts a ring of 64 bytes holds 65", b""),
            ("ring_send", ring(64, 7, sent=6), "`taken` counts a byte that was never sent", b"")):
        name = lab.name()
        lab.make_object(name, raw)
        mine = start(lab, program, name, 64, True, stdin=b"x\n" if program == "ring_send" else None)
        mine.close_input()
        fails(mine, why, printed)
    # The same from a peer that is there, and changes its count while the program sleeps.
    peer = somebody(lab)
    for program, raw, place, value, why in (
            ("ring_recv", ring(64, 7, sender=peer.pid), SENT, 7 + 65, "by its counts an empty ring of 64 bytes holds 65"),
            ("ring_send", ring(64, 7, b"x" * 64, receiver=peer.pid), TAKEN, 7 + 65, "`taken` counts a byte that was never sent")):
        name = lab.name()
        shared = Shared(lab, name, raw)
        mine = start(lab, program, name, 64, True, stdin=b"x\n" if program == "ring_send" else None)
        lab.poll(lambda: mine.started.status is not None or mine.spins or getattr(mine.blocked(), "in_futex", False), 4)
        shared.words[place] = value
        shared.wake(place)
        fails(mine, why)
    receiver.wait_output(len(b"before\n"))
    lab.settle(receiver)  # that the sender is gone it would notice later
    require_bytes(receiver.output, b"before\n", "what arrives before the line that is too long")


@points(1, read="handout, The protocol: Failure; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""

    def talk(program, line=b"hello\n", **options):
        name = lab.name()
        mine = start(lab, program, name, 1 << 14, True, stdin=b"hello\n" if program == "ring_send" else None,
                     interpose=SHORT_SLICES, **options)
        mine.close_input()
        if program == "ring_recv":
            waits_long(mine)
        # A sender has room for all of it and needs no receiver. A receiver goes to sleep, unless it ends before.
        return lab.run_with_peer(mine, name, lambda: start(
            lab, PEER[program], name, 1 << 14, False, stdin=line if program == "ring_recv" else None, interpose=SHORT_SLICES))

    for program in PEER:
        lab.each_call_fails(lambda **fault: talk(program, **fault), "/shmlab")
        lab.reset()
        talk(program, fail=[("munmap", 1, errno.EINVAL), ("shm_unlink", 1, errno.EACCES)]).require_each_failure_told()
        lab.reset()
        name = lab.name()
        lab.make_object(name, ring(64, 100, message(b"hello\n") if program == "ring_recv" else b"", empty_at=100, full_at=100))
        mine = start(lab, program, name, 64, True, stdin=b"hello\n" if program == "ring_send" else None,
                     fail=("syscall", 1, errno.EINVAL))
        mine.close_input()
        run = mine.wait()
        if any(call.injected for call in mine.calls):
            run.require_failure("futex", name, because="futex() failed with EINVAL (this check made it fail)")
        lab.reset()
    for line in b"hello\n", b"z" * 9999 + b"\n":
        run = talk("ring_recv", line, stdout="/dev/full")
        run.require_failure("/shmlab", "write", "flush", "stdout", because=f"stdout is full, and a line has {len(line)} bytes")
        require(not lab.objects(), "the name is gone if the output cannot be written", lab.objects())
        lab.reset()

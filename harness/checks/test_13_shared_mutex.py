"""Lab 13: producers and consumers at one bounded buffer, with a mutex and condition variables that processes share."""
import errno
import re
import signal
import struct

from shmlab import LabFixture, points, require, require_bytes

SLOTS = 8
LAYOUT = struct.Struct(f"<III{2 * SLOTS}I")  # ready, first, count, slot[] of producer and number
LOCKS = ["pthread_mutex_lock", "pthread_mutex_trylock", "pthread_mutex_timedlock"]
PEER = {"producer": "consumer", "consumer": "producer"}
COUNT = SLOTS + 3  # items: more than there are slots
MANY = {"producer": [7, COUNT], "consumer": [COUNT]}
ONE = {"producer": [7, 1], "consumer": [1]}  # the words that let a program put in, or take out, one item
MORE = {"producer": [7, COUNT + SLOTS + 1], "consumer": [COUNT + 1]}  # so many that it has to wait when a MANY has gone
REST = {"producer": [8, 1], "consumer": [SLOTS + 1]}  # what it waits for then


def new_buffer(lab: LabFixture):
    """A name whose buffer finished programs have set up and used; it is empty."""
    name = lab.name()
    for program in lab.reference("producer", name, 99, 1), lab.reference("consumer", name, 1):
        program.wait().require_success()
    return name


def items(lab: LabFixture, name):
    """The items in the buffer, oldest first (None: not a buffer), and the same as text."""
    item = lab.object(name)
    raw = lab.bytes_if_there(name, LAYOUT.size) or b""
    if len(raw) < LAYOUT.size:
        return None, [item or f"/dev/shm: no {name[1:]}"]
    _, first, count, *slot = LAYOUT.unpack(raw)
    if first >= SLOTS:
        return None, [item, f"first {first}, count {count}"]
    found = [(slot[2 * i], slot[2 * i + 1]) for i in ((first + n) % SLOTS for n in range(min(count, 2 * SLOTS)))]
    return found, [item, f"first {first}, count {count}: {' '.join(f'({p}, {n})' for p, n in found) or 'no item'}"]


def require_items(lab: LabFixture, name, wanted, when):
    """The buffer holds these items. One that is being put in or taken out may be on its way."""
    lab.poll(lambda: items(lab, name)[0] == wanted, 0.5)
    found, saw = items(lab, name)
    first = struct.unpack_from("<I", lab.bytes_if_there(name, LAYOUT.size) or bytes(8), 4)[0]
    require(first < SLOTS, f"`first` is a slot, from 0 to {SLOTS - 1}, {when}: it moves on modulo {SLOTS}", saw)
    require(found == wanted, f"the buffer holds {' '.join(map(str, wanted)) or 'no item'}, {when}", saw)


def numbers(producer, first, last):
    """The items first to last of a producer."""
    return [(producer, number) for number in range(first, last + 1)]


def lines(*wanted):
    """What a consumer prints for these items."""
    return b"".join(b"%d %d\n" % item for item in wanted)


def at_write(program):
    """Whether a program waits in write(2) or writev(2)."""
    call = program.blocked()
    return call is not None and call.name.startswith("write")


def stop(*programs):
    """Stops programs wherever they are."""
    for program in programs:
        program.kill(number=signal.SIGSTOP)
    programs[0].fixture.settle(*programs)


IDLE_TURNS = 5  # of a program that looks again and again
AFTER_UNLOCK = ("pthread_mutex_unlock", 0)  # where in_turns() has a program stopped


def in_turns(mine, *others) -> bool:
    """Whenever a program is stopped after it has unlocked the mutex, the others go on first, until they wait or have ended.

    So one item after the other is passed on. What may happen when they do not take turns is test_several's matter. Gives
    whether the program waits or has ended: one that unlocks and locks again while nothing changes is left where it stopped.
    """
    lab, before, idle = mine.fixture, None, 0
    while True:
        lab.settle(*others, mine)
        if mine.state().phase != "stopped":
            return True
        before, now = lab.progress(), before
        idle = idle + 1 if now == before else 0
        if idle >= IDLE_TURNS:
            return False
        mine.leave_stop()


def finish(name, story, *programs, seconds=4):
    """All end, with success. Returns what they have printed. One that sleeps and looks, and does not wait, takes too long."""
    lab = programs[0].fixture
    for program in programs:
        program.pauses.begin()

    def over():
        left = [program for program in programs if program.started.status is None]
        for program in left:
            if program in lab.history and program.state().phase == "stopped":
                program.resume()  # see in_turns()
            call = program.blocked() if program in lab.history else None
            if call and call.pauses and program.pauses.note(call) and program.pauses.longest >= 0.1:
                return True
        return not left

    lab.poll(over, seconds)
    for program in programs:
        if program.started.status is None:
            program.pauses.require_none()
    stuck = [program for program in programs if program.started.status is None]
    require(not stuck, f"every program does its work and ends, {story}", [p.describe_state() for p in stuck], items(lab, name)[1])
    return [program.wait().require_success().stdout for program in programs]


def require_all(outputs, producers, count, story):
    """The consumers have printed every item once, and each of them those of one producer in their order."""
    every = []
    for output in outputs:
        require(re.fullmatch(rb"(\d{1,7} \d{1,7}\n)*", output), "a consumer prints lines `ID NUMBER`", output)
        printed = [tuple(map(int, line.split())) for line in output.splitlines()]
        for producer in producers:
            mine = [item for item in printed if item[0] == producer]
            require(mine == sorted(mine), f"each consumer prints the items of one producer in their order, {story}",
                    next(f"{a} before {b}" for a, b in zip(mine, mine[1:]) if b < a) if mine != sorted(mine) else "")
        every += printed
    wanted = [item for producer in producers for item in numbers(producer, 1, count)]
    lost, more = set(wanted) - set(every), len(every) - len(set(every))
    require(sorted(every) == sorted(wanted), f"the consumers print each of the {len(wanted)} items once, {story}",
            f"{len(every)} lines; {len(lost)} items are missing, {more} are duplicated, "
            f"{len(set(every) - set(wanted))} were never put in")


#: What is in the buffer at first, who comes, how many preemptions, and whether memory is weak.
SCENARIOS = [
    (0, [("producer", 1, 1), ("consumer", 1)], 2, False),
    (2, [("consumer", 1), ("consumer", 1)], 2, False),
    (SLOTS - 2, [("producer", 1, 1), ("producer", 2, 1)], 2, False),
    (SLOTS, [("producer", 1, 1), ("consumer", 1)], 2, False),
    (0, [("producer", 1, 2), ("consumer", 1), ("consumer", 1)], 1, False),     # two that wait, and two items
    (SLOTS, [("consumer", 2), ("producer", 1, 1), ("producer", 2, 1)], 1, False),
    (1, [("producer", 1, 1), ("consumer", 2)], 1, True),
]
#: For `make explore`.
MORE_SCENARIOS = [(0, [("producer", 1, 1), ("producer", 2, 1), ("consumer", 1), ("consumer", 1)], 0, False)]


def explore_buffer(lab: LabFixture):
    """Every order of the steps of two or three processes, from an empty buffer, a full one, and in between."""
    for at_first, who, preemptions, weak in lab.scenarios(SCENARIOS, MORE_SCENARIOS):
        lab.reset()
        name = new_buffer(lab)
        if at_first > 0:
            lab.reference("producer", name, 7, at_first).wait().require_success()
        commands = [(program, name, *words) for program, *words in who]
        for end in lab.every_schedule(*commands, preemptions=preemptions, weak=weak):
            require_passed_on(end, name, numbers(7, 1, at_first), who,
                              f"whatever the order of the steps, with {at_first} of {SLOTS} slots taken at first")


def explore_set_up(lab: LabFixture):
    """Every order of the steps of the first two at a new buffer: no other process could wake who waits privately."""
    lab.reset()
    name = lab.name()
    for end in lab.every_schedule(("producer", name, 1, 1), ("consumer", name, 1)):
        if any(process.waits_privately for process in end.raw.processes):
            end.require_all_ended("a waiting process can be woken by another, in a buffer that your program has set up")
    lab.reset()


def require_passed_on(end, name, before, who, story):
    """At the end of a schedule each item has been printed once or is in the buffer, the oldest first."""
    end.require_all_ended(f"every program does its work and ends, {story}")
    printed = []
    for run in end.runs:
        run.require_success()
        require(re.fullmatch(rb"(\d{1,7} \d{1,7}\n)*", run.stdout), "a consumer prints lines `ID NUMBER`", run.stdout)
        printed.append([tuple(map(int, line.split())) for line in run.stdout.splitlines()])
    saw = [f"{run.process.letter}, {run.command.split()[0]}, printed {' '.join(map(str, mine)) or 'nothing'}"
           for run, mine in zip(end.runs, printed) if run.command.startswith("consumer")]
    raw = end.object_bytes(name) or b""
    require(len(raw) >= LAYOUT.size, f"{name} is a buffer", saw)
    _, first, count, *slot = LAYOUT.unpack_from(raw)
    left = [(slot[2 * i], slot[2 * i + 1]) for i in ((first + n) % SLOTS for n in range(min(count, SLOTS)))]
    saw.append(f"at the end: first {first}, count {count}: {' '.join(map(str, left)) or 'no item'}")
    put_in = before + [item for program, *words in who if program == "producer" for item in numbers(words[0], 1, words[1])]
    taken = [item for mine in printed for item in mine]
    saw += [f"{' '.join(map(str, which))} {what}" for which, what in (
        ([item for item in put_in if item not in taken + left], "is lost"),
        (sorted({item for item in taken + left if (taken + left).count(item) > 1}), "is there twice")) if which]
    require(first < SLOTS and sorted(taken + left) == sorted(put_in), f"each item is printed once or is in the buffer, {story}", saw)
    oldest = before[:len(taken)]
    require(all(item in taken for item in oldest), f"the oldest items are taken first, {story}", saw)
    for row in [*printed, left]:
        for producer in {item[0] for item in row}:
            mine = [number for other, number in row if other == producer]
            require(mine == sorted(mine), f"the items of one producer stay in their order, {story}", saw)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0; the name stays."""
    name = lab.name()
    lab.run("producer", name, 1000000, 1).require_success()
    run = lab.run("consumer", name, 1).require_success()
    require_bytes(run.stdout, b"1000000 1\n", "your consumer prints what your producer put in")
    require([item.name for item in lab.objects()] == [name], f"afterwards {name} exists, and no other name", lab.objects())
    for words in [], [name], [name, 1], [name, 1, 1, 1]:
        lab.run("producer", *words).require_usage()
    for words in [], [name], [name, 1, 1]:
        lab.run("consumer", *words).require_usage()
    for wrong in 0, -1, "+1", "1x", "", " 1", "0x10", 1000001, 1 << 32, (1 << 64) + 1:
        lab.run("producer", name, wrong, 1).require_usage()
        lab.run("producer", name, 1, wrong).require_usage()
        lab.run("consumer", name, wrong).require_usage()


def pass_on(lab: LabFixture, mine):
    """Items go from a producer to a consumer, one of them yours and the other finished, whichever is first."""
    for first in PEER:
        name, both = new_buffer(lab), {}
        for program in first, PEER[first]:
            if program == mine:
                both[program] = lab.start(program, name, *MANY[program], stop_at=AFTER_UNLOCK)
                in_turns(both[program], *(both[other] for other in both if other != mine))
            else:
                both[program] = lab.reference(program, name, *MANY[program])
                lab.settle(both[program])
        in_turns(both[mine], both[PEER[mine]])
        nothing, printed = finish(name, f"when the {first} is first", both["producer"], both["consumer"])
        require(nothing == b"", "a producer prints nothing", nothing)
        require_bytes(printed, lines(*numbers(7, 1, COUNT)), f"everything comes out in order if the {first} starts first")
        require_items(lab, name, [], "after all have been taken out")


@points(1, read="pthread_cond_wait(3), pthread_cond_signal(3); handout, Background and Steps")
def test_producer_to_reference(lab):
    """What the producer puts in comes out at an unrelated consumer, in order, whichever program starts first."""
    pass_on(lab, "producer")


@points(1, read="pthread_cond_wait(3), pthread_cond_signal(3); handout, Background and Steps")
def test_consumer_from_reference(lab):
    """The consumer prints in order what an unrelated producer puts in, whichever program starts first."""
    pass_on(lab, "consumer")


@points(1, read="handout, Background and Steps")
def test_bound(lab):
    """A producer that finds all 8 slots taken waits until one is free."""
    name = new_buffer(lab)
    producer = lab.start("producer", name, 7, COUNT, stop_at=AFTER_UNLOCK)
    in_turns(producer)
    require_items(lab, name, numbers(7, 1, SLOTS), "while none is taken out")
    require(producer.state().phase != "ended", "the producer waits while all slots are taken", producer.describe_state())
    first = finish(name, "when one item is taken out", lab.reference("consumer", name, 1))[0]
    in_turns(producer)
    require_items(lab, name, numbers(7, 2, SLOTS + 1), "after one has been taken out")
    consumer = lab.reference("consumer", name, COUNT - 1)
    in_turns(producer, consumer)
    rest = finish(name, "when all are taken out", consumer, producer)[0]
    require_bytes(first + rest, lines(*numbers(7, 1, COUNT)), "everything comes out in order")
    require_items(lab, name, [], "at the end")


@points(2, read="pthread_mutexattr_setpshared(3), pthread_condattr_setpshared(3); futex(2), FUTEX_PRIVATE_FLAG; "
                "handout, Background")
def test_woken_by_the_peer(lab):
    """A process that waits, for the mutex or for either condition, can be woken by an unrelated process."""
    explore_set_up(lab)
    for program in PEER:
        name = lab.name()
        mine = lab.start(program, name, *ONE[program], stop_at=LOCKS)
        mine.wait_stopped()
        peer = lab.reference(PEER[program], name, *ONE[PEER[program]])
        peer.wait_for_others(f"it waits for a mutex that other processes can unlock (set up by your {program})")
        mine.resume()
        finish(name, "when one had to wait for the mutex", mine, peer)

        name = lab.name()
        mine = lab.start(program, name, *MANY[program], stop_at=AFTER_UNLOCK)
        require(in_turns(mine), f"your {program} waits until another process wakes it, and does not poll",
                f"it unlocked the mutex and locked it again {IDLE_TURNS} times while nothing changed", items(lab, name)[1])
        mine.wait_for_others("it waits for a condition variable that other processes can use "
                             f"(set up by your {program})")
        stop(mine)  # until its peer has to wait, too
        peer = lab.reference(PEER[program], name, *MORE[PEER[program]])
        lab.settle(peer)
        in_turns(mine, peer)
        finish(name, f"when the {program} had to wait for the other", mine)
        peer.wait_for_others("it waits for the other condition variable, which other processes can use as well "
                             f"(set up by your {program})")
        finish(name, f"when the {PEER[program]} had to wait", peer, lab.reference(program, name, *REST[program]))


@points(1, read="pthread_cond_wait(3); handout, Background")
def test_waits_without_cpu(lab):
    """A process that waits, for the mutex or for either condition, uses no processor time."""
    waiting = [("all slots are taken", lab.start("producer", new_buffer(lab), *MANY["producer"])),
               ("there is no item", lab.start("consumer", new_buffer(lab), 1))]
    for program in PEER:
        name = new_buffer(lab)
        lab.start(PEER[program], name, *ONE[PEER[program]], stop_at=LOCKS).wait_stopped()
        waiting.append(("another holds the mutex", lab.start(program, name, *ONE[program])))
    for _, program in waiting:
        program.wait_blocked(lambda call: call.in_futex)
    lab.settle(*(program for _, program in waiting))
    lab.require_idle(waiting)


def meet_by_hand(lab: LabFixture):
    """Where the explorer cannot run: the orders of steps in which mistakes show, each brought about by stopping programs."""
    story = "when another producer comes as soon as it has unlocked the mutex"
    name = new_buffer(lab)
    finish(name, "when there is room", lab.reference("producer", name, 7, SLOTS))
    mine = lab.start("consumer", name, SLOTS + 1, stop_at="pthread_mutex_unlock")
    lab.settle(mine)
    other = lab.reference("producer", name, 8, 1)
    lab.settle(other)
    mine.resume()
    require_bytes(finish(name, story, mine, other)[0], lines(*numbers(7, 1, SLOTS), (8, 1)),
                  f"a consumer prints what it took, {story}")

    story = "when a consumer comes as soon as it has unlocked the mutex"
    name = new_buffer(lab)
    mine = lab.start("producer", name, 7, 1, stop_at="pthread_mutex_unlock")
    lab.settle(mine)
    other = lab.reference("consumer", name, 1)
    lab.settle(other)
    mine.resume()
    require_bytes(finish(name, story, mine, other)[1], lines((7, 1)), f"the item is complete, {story}")

    # What is done between two locks is done as a whole: another consumer comes in between.
    story = "when another consumer comes as soon as it has unlocked the mutex"
    name = new_buffer(lab)
    finish(name, "when there is room", lab.reference("producer", name, 7, 3))
    mine = lab.start("consumer", name, 1, stop_at="pthread_mutex_unlock")
    lab.settle(mine)
    other = finish(name, story, lab.reference("consumer", name, 1))[0]
    mine.resume()
    printed = sorted([other, *finish(name, story, mine)])
    require(printed == [lines((7, 1)), lines((7, 2))], f"each of two consumers takes an item of its own, {story}", *printed)

    # Who does not hold the mutex changes nothing: neither before its lock nor after its unlock.
    for program, stop_at in [(program, stop_at) for program in PEER for stop_at in (None, "pthread_mutex_unlock")]:
        when = "after its unlock" if stop_at else "before its lock"
        name = new_buffer(lab)
        finish(name, "when there is room", lab.reference("producer", name, 8, 2))
        if stop_at:
            mine = lab.start(program, name, *ONE[program], stop_at=stop_at)
            lab.settle(mine)
        holder = lab.start(PEER[program], name, *ONE[PEER[program]], stop_at=LOCKS)
        holder.wait_stopped()
        before, was = lab.object_bytes(name, LAYOUT.size), items(lab, name)[1][1:]
        if stop_at:
            mine.resume()
        else:
            mine = lab.start(program, name, *ONE[program])
        lab.settle(mine)
        now = items(lab, name)[1][1:]
        require(lab.object_bytes(name, LAYOUT.size) == before, f"a {program} does not change the buffer while another process "
                "holds the mutex", f"{when} the {program} continued while another held the mutex; before: {' '.join(was)}",
                f"after: {' '.join(now)}")
        holder.resume()
        finish(name, f"when another held the mutex {when}", mine, holder)

    # A wake-up that comes too late: somebody else has taken the item, or the slot.
    story = "when another has taken the item for which it was woken"
    name = new_buffer(lab)
    mine = lab.start("consumer", name, 1)
    lab.settle(mine)
    stop(mine)
    finish(name, "when there is room", lab.reference("producer", name, 7, 1))
    finish(name, "when there is an item", lab.reference("consumer", name, 1))
    mine.resume()
    require(lab.settle(mine) == "waits", f"a consumer waits again {story}", mine.describe_state(), items(lab, name)[1],
            mine.output)
    require_bytes(finish(name, story, mine, lab.reference("producer", name, 8, 1))[0], lines((8, 1)), f"the next item, {story}")

    story = "when another has taken the slot for which it was woken"
    name = new_buffer(lab)
    mine = lab.start("producer", name, 7, SLOTS + 1)
    lab.settle(mine)
    stop(mine)
    finish(name, "when there is an item", lab.reference("consumer", name, 1))
    finish(name, "when there is room", lab.reference("producer", name, 8, 1))
    mine.resume()
    lab.settle(mine)
    wanted = [*numbers(7, 2, SLOTS), (8, 1)]
    require_items(lab, name, wanted, story)
    printed = finish(name, story, mine, lab.reference("consumer", name, SLOTS + 1))[1]
    require_bytes(printed, lines(*wanted, (7, SLOTS + 1)), f"nothing is lost {story}")

    # Two items for two that wait, before either of them has moved; and two slots.
    name = new_buffer(lab)
    pair = [lab.reference("consumer", name, 1) for _ in range(2)]
    lab.settle(*pair)
    stop(*pair)
    finish(name, "when there is room", lab.start("producer", name, 7, 2))
    for program in pair:
        program.resume()
    printed = finish(name, "when two consumers wait and two items are put in", *pair)
    require(sorted(printed) == [lines(item) for item in numbers(7, 1, 2)], "each of them gets one", *printed)

    name = new_buffer(lab)
    finish(name, "when there is room", lab.reference("producer", name, 7, SLOTS))
    pair = [lab.reference("producer", name, n, 1) for n in (8, 9)]
    lab.settle(*pair)
    stop(*pair)
    finish(name, "when there are items", lab.start("consumer", name, 2))
    for program in pair:
        program.resume()
    finish(name, "when two producers wait and two items are taken out", *pair)

    # A signal tells of what is there already: who is woken by it looks at once, and then sleeps on.
    for program in PEER:
        name = new_buffer(lab)
        if program == "consumer":
            finish(name, "when there is room", lab.reference("producer", name, 7, SLOTS))
        other = lab.reference(PEER[program], name, *ONE[PEER[program]])
        lab.settle(other)
        mine = lab.start(program, name, *ONE[program], stop_at="pthread_cond_signal")
        lab.settle(mine, other)
        mine.resume()
        finish(name, f"when a {PEER[program]} that waited looks as soon as the {program} has signalled", mine, other)


@points(2, read="pthread_cond_wait(3); handout, Background and Pitfalls")
def test_several(lab):
    """With several producers and several consumers nothing is lost, duplicated or taken out of order, and no process waits for
    ever."""
    explore_buffer(lab)
    if not lab.explored:
        meet_by_hand(lab)
    lab.reset()
    # All of them at once: your consumers, your producers, and both. Those that pause after each item put in fewer.
    for mine in ["consumer"], ["producer"], ["producer", "consumer"]:
        pauses = any(program.pauses.seen for program in lab.history)
        name, count = new_buffer(lab), 3000 if len(mine) == 2 and not pauses else 100
        role = {"producer": [], "consumer": []}
        for program in sorted(PEER, key=lambda program: program in mine):
            for n in 1, 2:
                words = [n, count] if program == "producer" else [count]
                start = lab.start if program in mine else lab.reference
                role[program].append(start(program, name, *words))
            if program not in mine:
                lab.settle(*role[program])
        story = "with two producers and two consumers"
        printed = finish(name, story, *role["producer"], *role["consumer"], seconds=8)
        require_all(printed[2:], [1, 2], count, story)
        require_items(lab, name, [], "at the end")

    # A consumer whose output nobody reads waits in write(), and others go on meanwhile.
    name, count = new_buffer(lab), 500  # more than the stream buffers of a C library hold
    consumer = lab.start("consumer", name, count, stdout=lab.full_pipe())
    producer = lab.reference("producer", name, 1000000, count)
    writes = lab.poll(lambda: at_write(consumer) or consumer.started.status is not None, 4) and at_write(consumer)
    require(writes, "a consumer writes to standard output what it took out",
            consumer.describe_state() if consumer.started.status is None else consumer.wait().ending)
    lab.settle(consumer, producer)
    other = lab.reference("consumer", name, 1) if items(lab, name)[0] else lab.reference("producer", name, 9, 1)
    finish(name, "while a consumer waits in write() until its output is read: it must not hold the mutex then", other,
           seconds=1)


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1, and does not leave the mutex locked."""
    given = ("shm_open", "fcntl", "ftruncate", "posix_fallocate", "mmap")

    def after(name, program):
        """The buffer still works for others: one puts an item in, one takes out this and all others, and neither has to wait."""
        count, story = len(items(lab, name)[0] or []), f"after your {program} has failed: it must not keep the mutex"
        if count >= SLOTS:
            finish(name, story, lab.reference("consumer", name, count - SLOTS + 1))
            count = SLOTS - 1
        finish(name, story, lab.reference("producer", name, 8, 1))
        finish(name, story, lab.reference("consumer", name, count + 1))

    def scenario(program, **fault):
        name = lab.name()
        mine = lab.start(program, name, *ONE[program], **fault)
        if lab.settle(mine) != "ended":
            finish(name, "when there is room", lab.reference("producer", name, 7, 1))
        run = mine.wait()
        run.left_behind.objects.clear()  # the name stays, whatever happens
        if fault and fault["fail"][0].startswith("pthread"):
            require(lab.object(name), f"{name} stays, although {fault['fail'][0]}() has failed (this check made it fail)",
                    lab.objects())
        if fault.get("fail", [""])[0] != "pthread_mutex_unlock":
            after(name, program)
        return run

    for program in PEER:
        lab.each_call_fails(lambda **fault: scenario(program, **fault), "/shmlab", skip=given if program == "consumer" else ())
        lab.reset()
        # The same for a wait that fails, in a buffer that others have set up.
        name = new_buffer(lab)
        waits = [(call, 1, errno.EPERM) for call in ("pthread_cond_wait", "pthread_cond_timedwait")]
        mine = lab.start(program, name, *MANY[program], fail=waits)
        if lab.settle(mine) != "ended":
            finish(name, "when it has a peer", lab.reference(PEER[program], name, *MANY[PEER[program]]))
        run = mine.wait()
        if any(call.injected for call in mine.calls):
            run.require_failure("pthread_cond_wait", "pthread_cond_timedwait", "/shmlab")
            require(not run.other_reason(errno.EPERM), "the reason is what the call returned", run.ending)
        after(name, program)
        lab.reset()
    name = new_buffer(lab)
    lab.reference("producer", name, 7, 1).wait().require_success()
    run = lab.run("consumer", name, 1, stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)
    after(name, "consumer")
    for program in PEER:
        lab.run(program, "/no/such/name", *ONE[program]).require_failure("shm_open", "/no/such/name")

"""Lab 11: two unrelated programs talk through a named object, in step, without spinning."""
import errno

from shmlab import Bench, points, require, require_bytes

PIECES = [b"first\n", b"with\0zero\0bytes\xff", b"x" * 1500, b"last without newline"]
PEER = {"writer": "reader", "reader": "writer"}


def settle(program):
    """Waits until a program waits for its peer or for its input, or has ended."""

    def waits():
        call = program.blocked()
        return program.started.status is not None or (call and (call.in_futex or call.reads_input))

    program.bench.poll(waits, 4)
    return program.started.status is None


def conversation(lab: Bench, program: str, first: str, pieces=PIECES, **options):
    """Runs a student's program with the reference peer, one of the two first. Gives both, and the name."""
    name = lab.name()
    mine = peer = None
    for turn in [first, PEER[first]]:
        if turn == program:
            mine = lab.start(program, name, stdin=b"" if turn == "writer" else None, **options)
            settle(mine)
        else:
            peer = lab.reference(turn, name, stdin=b"" if turn == "writer" else None)
            settle(peer)
        if turn == "writer" == first:
            # All at once, and nobody there to take it: the writer has to wait for room.
            (mine or peer).send(b"".join(pieces))
            pieces = []
            (mine or peer).wait_blocked(lambda call: call.in_futex)
    writer, reader = (mine, peer) if program == "writer" else (peer, mine)
    for piece in pieces:
        writer.send(piece)
        settle(writer)
    writer.close_input()
    return mine, peer, name


def finish(lab: Bench, mine, peer):
    """Waits for both; gives what the reader has printed. Nothing may be left."""
    runs = [program.wait() for program in ([mine, peer] if mine.name == "writer" else [peer, mine])]
    for run in runs:
        run.require_success()
    left = lab.objects()
    require(not left, "the name is gone when the conversation is over", left)
    return runs[1].stdout


@points(1, read="handout, Steps")
def test_usage(lab):
    """Wrong arguments end with "usage: …" on stderr and exit status 2, right ones with exit status 0."""
    name = lab.name()
    reader = lab.start("reader", name)
    settle(reader)
    writer = lab.start("writer", name, stdin=b"hello")
    writer.close_input()
    writer.wait().require_success()
    require_bytes(reader.wait().require_success().stdout, b"hello", "your reader prints what your writer sends")
    for program in PEER:
        for words in [], [name, "x"]:
            lab.run(program, *words).require_usage()


@points(2, read="sem_wait(3), sem_post(3); handout, Background and Steps")
def test_writer_to_reference_reader(lab):
    """What the writer reads arrives at an unrelated reader unchanged, whichever of the two starts first."""
    for first in PEER:
        mine, peer, _ = conversation(lab, "writer", first)
        require_bytes(finish(lab, mine, peer), b"".join(PIECES), f"all arrives when the {first} is first")
        lab.fresh()


@points(2, read="sem_wait(3), sem_post(3), write(2); handout, Background and Steps")
def test_reader_from_reference_writer(lab):
    """What an unrelated writer sends, the reader prints unchanged, whichever of the two starts first; then the name is gone."""
    for first in PEER:
        mine, peer, _ = conversation(lab, "reader", first)
        require_bytes(finish(lab, mine, peer), b"".join(PIECES), f"all is printed when the {first} is first")
        lab.fresh()


def waiting(lab: Bench, program: str):
    """A student's program that was first and waits for its peer."""
    name = lab.name()
    mine = lab.start(program, name, stdin=b"y" * 5000 if program == "writer" else None)
    return mine, mine.wait_blocked(lambda call: call.in_futex)


@points(1, read="sem_init(3), pshared; futex(2), FUTEX_PRIVATE_FLAG; handout, Background")
def test_woken_by_the_peer(lab):
    """A process that has to wait is woken by its peer."""
    for program in PEER:
        mine, call = waiting(lab, program)
        require(not call.private_futex,
                f"the {program} waits for a semaphore that other processes can post",
                f"/proc/{mine.pid}/syscall: futex(…, {call.arguments[1]:#x}, …) has FUTEX_PRIVATE_FLAG (0x80): "
                "only threads of the same process can wake it")
        lab.fresh()


@points(1, read="sem_timedwait(3); handout, Background")
def test_waits_without_cpu(lab):
    """A process that waits uses no processor time."""
    for program in PEER:
        mine = waiting(lab, program)[0]
        seconds, used = mine.measure_cpu()
        require(used < 0.02 * seconds, f"next to no processor time while the {program} waits",
                f"in {seconds * 1000:.0f} ms it used {used * 1000:.1f} ms of the processor")
        lab.fresh()


@points(1, read="sem_timedwait(3), kill(2) and ESRCH; handout, Steps")
def test_peer_dies(lab):
    """When its peer is killed, the program fails within a second and removes the name."""
    for program in PEER:
        name = lab.name()
        peer = lab.reference(PEER[program], name, stdin=b"hello" if program == "reader" else None)
        settle(peer)
        mine = lab.start(program, name, stdin=b"hello" if program == "writer" else None)
        reader = mine if program == "reader" else peer
        reader.wait_output(5) if reader is peer else mine.wait_blocked(lambda call: call.in_futex)
        peer.kill()
        peer.wait()
        if program == "writer":
            mine.send(b"z" * 5000)
        run = mine.wait(2.0)
        require(run.exit_status == 1 and run.stderr, f"the {program} fails when its peer has been killed", run.ending)
        left = lab.objects()
        require(not left, f"the {program} removes the name when its peer has been killed", left)
        lab.fresh()


@points(1, read="sem_timedwait(3), EINTR; handout, Steps")
def test_interrupted_wait(lab):
    """A wait that a signal interrupts goes on."""
    for program in PEER:
        name = lab.name()
        mine = lab.start(program, name, stdin=b"hello" if program == "writer" else None,
                         fail=[("sem_timedwait", 1, errno.EINTR), ("sem_wait", 1, errno.EINTR)])
        settle(mine)
        peer = lab.reference(PEER[program], name, stdin=b"hello" if program == "reader" else None)
        if program == "writer":
            peer.wait_output(5)  # the end of the input comes when the piece is through
        for end in mine, peer:
            end.close_input()
        mine.wait().require_success()
        reader = mine if program == "reader" else peer
        require_bytes(reader.wait_output(5), b"hello", f"the {program} does its work after EINTR")
        lab.fresh()


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """Whichever call fails, the program says so, exits with status 1 and leaves nothing behind."""

    def talk(program, **fault):
        name = lab.name()
        mine = lab.start(program, name, stdin=b"hello" if program == "writer" else None, **fault)
        mine.close_input()
        made = None
        if settle(mine):
            made = lab.object(name)
            lab.reference(PEER[program], name, stdin=b"hello" if program == "reader" else None).close_input()
        run = mine.wait()
        # If ours has failed and unlinked the name, the peer may have come just then and made a new object: not ours.
        run.left_behind.objects = [item for item in run.left_behind.objects if made is None or item.inode == made.inode]
        return run

    for program in PEER:
        lab.each_call_fails(lambda **fault: talk(program, **fault), "/shmlab")
        lab.fresh()
        lab.run(program, "/no/such/name").require_failure("shm_open", "/no/such/name")
        if lab.own_kernel:
            lab.fresh()
            lab.fill_shared_memory()
            run = lab.run(program, lab.name()).require_failure("posix_fallocate", "/shmlab", because="/dev/shm is full")
            run.left_behind.require_nothing()
        lab.fresh()

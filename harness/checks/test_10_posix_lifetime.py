"""Lab 10: what becomes of a mapping when its descriptor, its name, itself or the bytes behind it go away."""
import errno
import os
import signal

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.faults import FAILURES, REMOVERS
from shmlab.judging.require import CheckFailed, decimal_mode

PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE, KEPT = 2 * PAGE, 100
SEGV, BUS = signal.SIGSEGV, signal.SIGBUS
ENDS = {"close": 0, "unlink": 0, "munmap": SEGV, "last page": 0, "next page": BUS}
LABELS = list(ENDS)
polling = set()  # programs that have been seen to use the processor while a child is stopped: no use to wait until they wait
PERCENT_END = "-50%%"  # as a format, one % less
MANY_PERCENT = "%s" * 100  # as a format, reads arguments that are not there until it is killed
ODD_END = "-Aa B.%d." + "x" * 200  # what a program that changes, cuts or copies NAME on its way would spoil


def require_line(run, label: str, outcome: str, story: str, *saw):
    """The line of one experiment; the others are the business of other checks."""
    lines = run.stdout.decode("utf-8", "replace").splitlines()
    require([line for line in lines if line.startswith(label + ":")] == [f"{label}: {outcome}"],
            f"the line \"{label}: {outcome}\", as {story}", [f"stdout: {line}" for line in lines], *saw, run.ending)


def require_no_vfork(program):
    """The child of vfork() runs in its parent's memory: there is only one set of mappings for both."""
    made = [call for call in program.recorded() if call.name == "vfork"]
    made = [call for call in made if call.pid == program.pid][:1] or made[:1]  # once in each process
    require(not made, "each child is created by fork(), with its own mappings: what a child of vfork() unmaps, its "
            "parent loses, too", made)


def asked(program):
    """How often a parent has asked for its child and been told that it has not ended."""
    times = sum(call.name == "waitpid" and call.result == 0 and call.arguments[2] & os.WNOHANG for call in program.recorded())
    return f"waitpid() with WNOHANG has returned 0 at least {times:,} times: it does not wait" if times else []


def next_held(program) -> int:
    """The child that is stopped now: there is only one at a time, and its parent waits for it."""
    try:
        children = program.wait_stopped()
    except CheckFailed:
        require_no_vfork(program)  # then that is only a consequence
        raise
    if program.state().state == "D":  # in vfork(2) the parent sleeps so, until its child has ended
        require_no_vfork(program)
    if program.built.path not in polling:
        where = program.fixture.settle(program)
        for _ in range(20):  # a parent that has hardly come to its turn has not shown what it does
            if where != "runs" or program.spins:
                break
            where = program.fixture.settle(program)
        require(where != "ended", "the parent waits for its child", "it ended before its child")
        if where == "runs":
            polling.add(program.built.path)
    require(len(children) == 1, "one child at a time: the previous one has been waited for",
            [f"process {child} is another child" for child in children])
    return children[0]


def stop_at(lab: LabFixture, label: str, call: str, nth: int = 1):
    """Holds one experiment's child right after a call. Returns the object's name, the program, and the child."""
    name = lab.name()
    program = lab.start("posix_lifetime", name, stop_at=[("fork", 1, "c"), (call, nth, "c")])
    children, wanted = [], LABELS.index(label) + 1
    while True:
        child = next_held(program)
        if child not in children:
            children.append(child)
        elif len(children) == wanted:
            return name, program, child
        require(len(children) <= wanted, f"the child of the experiment \"{label}\" comes to {call}()", "it ended first")
        program.resume(child)


def go_on(lab: LabFixture, program):
    """Lets everything that is stopped go on, until the program has ended."""
    program.resume(*(process.pid for process in lab.box.processes() if process.state == "T"))

    def ended():
        held = [int(event[1]) for event in lab.box.events if event[0] == "stopped"]
        lab.box.events[:] = [event for event in lab.box.events if event[0] != "stopped"]
        if held:
            program.resume(*held)
        return program.started.status is not None

    lab.poll(ended, 4)
    return program.wait()


def state_of(lab: LabFixture, pid: int) -> str:
    return next((process.state for process in lab.box.processes() if process.pid == pid), "X")


def real_end(lab: LabFixture, program, child: int) -> int:
    """Lets a stopped child end while its parent is stopped and cannot wait for it. Returns the kernel's wait status."""
    program.kill(program.pid, signal.SIGSTOP)
    lab.poll(lambda: state_of(lab, program.pid) in "TX", 4)
    if state_of(lab, program.pid) not in "TX":
        raise RuntimeError(f"process {program.pid} does not stop, although this check sent it SIGSTOP")
    program.resume(child)
    lab.poll(lambda: state_of(lab, child) in "ZX", 4)
    require(state_of(lab, child) == "Z", "the child ends", program.describe_state())
    # See proc_pid_stat(5): exit_code is the 52nd field, and the second is in parentheses.
    fields = lab.box.read(f"/proc/{child}/stat").rpartition(b")")[2].split()
    program.resume()
    return int(fields[52 - 3]) & 0xFF7F


def ending(status: int) -> str:
    number = status & 0x7F
    return f"killed by {signal.Signals(number).name}" if number else f"exit status {status >> 8}"


def mine(program, name: str, pid: int):
    return [mapping for mapping in program.maps(pid) if mapping.object == name]


def mapped_whole(program, name: str, child: int):
    """The child's mapping of the object, which has to be there."""
    found = mine(program, name, child)
    require(found and all(m.flags == "rw-s" and m.size == SIZE for m in found),
            f"two pages of /dev/shm{name}, `rw-s`, in /proc/PID/maps of the child", found or program.maps(child)[-1:])
    return found[0]


def require_size(lab: LabFixture, name: str, size: int):
    item = lab.object(name)
    require(item and item.size == size, f"the object has {size} bytes after ftruncate()", item or lab.objects())


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    name = lab.name()
    lab.run("posix_lifetime", name).require_success()
    for words in [], [name, "x"]:
        lab.run("posix_lifetime", *words).require_usage().left_behind.require_nothing()


@points(1, read="waitpid(2), WIFSIGNALED; signal(7); handout, Steps")
def test_each_child_ends_as_its_line_says(lab):
    """Each experiment has its own child, one at a time, which really ends as the line says; nothing is left."""
    name = lab.name(ODD_END)
    program = lab.start("posix_lifetime", name, stop_at=("fork", 1, "c"))
    for label, end in ENDS.items():
        child = next_held(program)
        require(program.built.path not in polling, "a parent that waits for its child uses no processor time",
                f"it has used {program.cpu_seconds():.2f} s of processor time while the child was stopped, and continues", asked(program))
        others = [process for process in lab.box.processes() if process.pid not in (program.pid, child)]
        require(not others, "the previous child has been waited for before the next one is forked", others)
        status = real_end(lab, program, child)
        require(status == end, f"the child of the experiment \"{label}\": {ending(end)}", ending(status))
    run = go_on(lab, program).require_success()
    wanted = "".join(f"{label}: {signal.Signals(end).name if end else 'read ok'}\n" for label, end in ENDS.items())
    require_bytes(run.stdout, wanted.encode(), "stdout")
    run.require_name(name).left_behind.require_nothing()
    lab.run("posix_lifetime", lab.name(MANY_PERCENT)).require_no_format().require_success()


@points(1, read="close(2), mmap(2); handout, Background")
def test_close(lab):
    """After `close` the child has the mapping without a descriptor, and the line depends on what it reads there."""
    for at in 0, 1234, SIZE - 1:
        name, program, child = stop_at(lab, "close", "close")
        mapped_whole(program, name, child)
        files = [file for file in program.open_files(child) if name in file]
        require(not files, f"no descriptor of the child refers to /dev/shm{name} after close()", files)
        lab.set_object(name, b"Z", at, SIZE)
        run = go_on(lab, program).require_success()
        require_line(run, "close", "wrong bytes", f"another process changed byte {at} after close()")


@points(1, read="shm_unlink(3); handout, Background")
def test_unlink(lab):
    """After `shm_unlink` the name is gone but the mapping is not; a new object of that name is a different one."""
    for at in 0, 1234, SIZE - 1:
        name, program, child = stop_at(lab, "unlink", "shm_unlink")
        mapping = mapped_whole(program, name, child)
        require(mapping.name.endswith(" (deleted)") and not lab.object(name),
                f"/dev/shm{name} is gone, and `(deleted)` in /proc/PID/maps of the child", lab.objects(), mapping)
        content = bytearray(program.memory(mapping, child))
        require_bytes(bytes(content), b"x" * SIZE, "the bytes of the unlinked object")
        content[at:at + 1] = b"Z"
        program.set_memory(mapping, bytes(content), child)
        run = go_on(lab, program).require_success()
        require_line(run, "unlink", "wrong bytes", f"another process changed byte {at} after shm_unlink()")
    name, program, child = stop_at(lab, "unlink", "end")
    mapping, item = mapped_whole(program, name, child), lab.object(name)
    require(item and item.inode != mapping.inode, f"a different object has the name {name} when the child ends",
            item or f"there is no /dev/shm{name}", mapping)
    require(item.mode == 0o600, "the new object has mode 0600", item, decimal_mode(item.mode, 0o600, 0o666, 0o640, umask=0o022))
    require_bytes(lab.object_bytes(name), b"y", "the bytes of the new object")
    require_bytes(program.memory(mapping, child), b"x" * SIZE, "the bytes of the old object")
    go_on(lab, program).require_success()
    name, program, _ = stop_at(lab, "unlink", "shm_unlink")
    lab.make_object(name, b"another user's", mode=0o666)
    go_on(lab, program).require_failure("shm_open", name, because="another process took the name after shm_unlink()")


@points(1, read="munmap(2); signal(7), SIGSEGV; handout, Background")
def test_munmap(lab):
    """After `munmap` the child has no mapping, its parent still has one, and the read of that address kills the child."""
    name, program, child = stop_at(lab, "munmap", "munmap", 0)
    found = mine(program, name, child)
    if sum(mapping.size for mapping in found) == PAGE:  # one page at a time
        program.resume(child)
        if next_held(program) == child:
            found = mine(program, name, child)
    require(not found, f"no line for /dev/shm{name} in /proc/PID/maps of the child after munmap()", found)
    require(mine(program, name, program.pid), f"a line for /dev/shm{name} in /proc/PID/maps of the parent",
            program.shared_maps())
    status = real_end(lab, program, child)
    require(status == SEGV, "the child is killed by SIGSEGV", ending(status))
    go_on(lab, program).require_success()
    # A child that reads there is alive where something else has been mapped; one that kills itself is not.
    for fill, outcome in ("xy", "read ok"), ("yx", "wrong bytes"):
        lab.reset()
        run = lab.run("posix_lifetime", lab.name(), interpose=("mapped_again",),
                      environment={"SHMLAB_FILL": fill, "SHMLAB_DONE": "mapped_again"})
        if lab.box.exists("mapped_again"):
            killed = b"\nmunmap: SIG" in run.stdout
            require_line(run, "munmap", outcome, "right after the child's munmap() this check mapped other memory at these "
                         f"addresses, with '{fill[0]}' as the first byte and '{fill[1]}' as all others",
                         "no read of these addresses can have killed the child: it read elsewhere, or sent itself the signal"
                         if killed else [])


@points(1, read="ftruncate(2), mmap(2); handout, Background")
def test_last_page(lab):
    """In the last page of an object that was shrunk, the child reads zero bytes past the object's end."""
    for at in KEPT, 1234, PAGE - 1:
        name, program, child = stop_at(lab, "last page", "ftruncate")
        mapped_whole(program, name, child)
        require_size(lab, name, KEPT)
        require_bytes(lab.object_bytes(name), b"x" * KEPT, "the remaining bytes of the object")
        lab.set_object(name, b"Z", at, PAGE)
        run = go_on(lab, program).require_success()
        require_line(run, "last page", "wrong bytes", f"another process stored a byte at {at} after ftruncate()")
    name, program, _ = stop_at(lab, "last page", "end")
    require_size(lab, name, KEPT)
    go_on(lab, program).require_success()


@points(1, read="ftruncate(2), mmap(2); signal(7), SIGBUS; handout, Background")
def test_next_page(lab):
    """In the page after it SIGBUS kills the child, unless the object has become large enough again."""
    name, program, child = stop_at(lab, "next page", "ftruncate")
    mapped_whole(program, name, child)
    require_size(lab, name, KEPT)
    status = real_end(lab, program, child)
    require(status == BUS, "the child is killed by SIGBUS", ending(status))
    go_on(lab, program).require_success()
    for content, outcome, where in (b"", "read ok", ""), (b"Z", "wrong bytes", ", with a first byte that is not 0"), \
            (b"\0Z", "read ok", ", with a second byte that is not 0"):
        name, program, child = stop_at(lab, "next page", "ftruncate")
        lab.set_object(name, content, PAGE, SIZE)
        run = go_on(lab, program).require_success()
        require_line(run, "next page", outcome, "another process enlarged the object to two pages again" + where)


@points(1, read="waitpid(2), WTERMSIG; handout, Steps")
def test_killed_otherwise(lab):
    """If another signal kills a child, the line says so, and the object is still removed."""
    for label, call, number, outcome in (
            ("close", "close", signal.SIGKILL, "signal 9"), ("unlink", "shm_open", SEGV, "SIGSEGV"),
            ("munmap", "munmap", BUS, "SIGBUS"), ("last page", "ftruncate", signal.SIGTERM, "signal 15"),
            ("next page", "ftruncate", SEGV, "SIGSEGV")):
        _, program, child = stop_at(lab, label, call)
        program.kill(child, number)
        run = go_on(lab, program).require_success()
        require_line(run, label, outcome, f"its child was killed by {number.name} after {call}()")
        run.left_behind.require_nothing()


@points(1, read="shm_open(3), O_EXCL and EEXIST; handout, Steps")
def test_taken_name(lab):
    """If the name is taken, the program fails and leaves that object as it is."""
    lab.run("posix_lifetime", lab.name()).require_success()
    name = lab.name()
    old = lab.make_object(name, b"another user's")
    run = lab.run("posix_lifetime", name)
    run.require_failure("shm_open", name)
    require(lab.objects() == [old], "the old object is unchanged, and there is no other: " + old.line, lab.objects())
    require_bytes(lab.object_bytes(name), b"another user's", "the old object keeps its contents")
    require(run.stdout == b"", "nothing on stdout", run.stdout)


@points(1, read="handout, Steps; err(3), _exit(2)")
def test_failing_calls(lab):
    """If any call fails, in parent or child, the program reports it, exits with status 1 and cleans up."""
    lab.run("posix_lifetime", lab.name()).require_success()
    program = lab.history[-1]
    faults = set()
    for who in "p", "c":
        counts = {}
        for call in program.calls:
            if (call.pid == program.pid) == (who == "p") and call.name in FAILURES:
                counts[call.name] = counts.get(call.name, 0) + 1
        # In the parent the first and the last of a name; in the children the first that each of them makes.
        faults |= {(call, nth, who) for call, most in counts.items() for nth in ((1, most) if who == "p" else (1,))}
    for call, nth, who in sorted(faults | {("write", 1, "c")}):
        lab.reset()
        name = lab.name(PERCENT_END)
        run = lab.run("posix_lifetime", name, fail=(call, nth, FAILURES.get(call, errno.ENOSPC), who)).require_no_format(name)
        program = lab.history[-1]
        hit = [made.pid for made in program.calls if made.injected]
        if not hit:
            continue
        story = f"{call}() failed in {'the parent' if who == 'p' else 'a child'} (this check made it fail)"
        require(run.exit_status == 1, "the program notices the error and exits with status 1", story, run.ending)
        require(call in run.stderr or "/shmlab" in run.stderr, f"a message on stderr that names {call} or the object",
                story, run.ending)
        require(not run.other_reason(FAILURES.get(call, errno.ENOSPC)), "if the message includes a reason, it is the failing "
                "call's", story, run.ending)
        children = list(dict.fromkeys(made.pid for made in program.calls if made.pid != program.pid))
        whole = program.calls[0].sequence == 1  # no record was lost, as happens where a program polls
        most = LABELS[: children.index(hit[0])] if who == "c" and whole else LABELS
        labels = [line.split(":")[0] for line in run.stdout.decode("utf-8", "replace").splitlines()]
        require(labels == most[: len(labels)], "each line once, and no line for an experiment that was not made", story,
                [f"stdout: {line}" for line in run.stdout.decode("utf-8", "replace").splitlines()])
        if who == "c" or call not in REMOVERS:
            require(not run.left_behind.lines, "the program removes what it created", story, run.left_behind.lines)
    # In the last child: the others are killed before they come to that call.
    lab.reset()
    program = lab.start("posix_lifetime", lab.name(), stop_at=("fork", 1, "c"), fail=("ftruncate", 1, errno.EFBIG, "c"))
    for label in LABELS:
        (program.resume if label == LABELS[-1] else program.kill)(next_held(program))
    run = program.wait()
    if any(call.injected for call in program.calls):
        run.require_failure("ftruncate", "/shmlab", because="ftruncate() failed in the last child (this check made it fail)")
        run.left_behind.require_nothing()
    lab.reset()
    run = lab.run("posix_lifetime", lab.name(), fail=("end", 1, 3, "c"))
    require(run.exit_status == 1 and not run.stdout, "exit status 1 and no line if a child exits with status 3",
            run.ending, run.stdout)
    lab.reset()
    run = lab.run("posix_lifetime", lab.name(), stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)
    run.left_behind.require_nothing()

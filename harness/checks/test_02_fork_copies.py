"""Lab 02: what a child changes in its copies stays with the child; what it changes in shared memory does not."""
import struct
from dataclasses import replace

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.children import (AFTER_A_WAIT, come_to_their_ends, require_parent_waits, said_by_children, tells_cause,
                                     wait_for_children)
from shmlab.judging.pauses import HELD, NO_TIME

OLD, NEW = 0x1122334455667788, 0x99AABBCCDDEEFF01
KINDS = ["global", "heap", "private", "shared"]
PROGRAM = "fork_copies"
WORD = 8
KEPT = ("kept_blocks", "kept_mappings")  # a child may free and unmap its words: these keep them, to be read just before it ends


def answer(*values: int) -> bytes:
    return b"".join(b"%s %d\n" % (kind.encode(), value) for kind, value in zip(KINDS, values))


def child_has_changed_all(lab: LabFixture):
    """The program with its child stopped at its end, and the child's pid."""
    program = lab.start(PROGRAM, OLD, NEW, stop_at=("end", 1, "c"), interpose=KEPT)
    return program, wait_for_children(program, 1)[0]


def child_is_forked(lab: LabFixture):
    """The program and its child, both stopped right after fork(), and the child's pid. The child stops at its end, too."""
    program = lab.start(PROGRAM, OLD, NEW, stop_at=[("fork", 1, "a"), ("end", 1, "c")], interpose=KEPT)
    both = wait_for_children(program, 2)
    return program, next(pid for pid in both if pid != program.pid)


def goes_to_its_end(program, child) -> None:
    """Lets both continue from the fork, until the child stops at its end."""
    program.resume(program.pid, child)
    while child not in wait_for_children(program, 1):
        pass  # another child, where there should be none
    program.fixture.settle(program)


def places(content: bytes, value: int):
    """Where a word of this value stands in memory."""
    word, at, found = struct.pack("=Q", value), 0, set()
    while (at := content.find(word, at)) >= 0:
        found.add(at)
        at += 1
    return found


def private_words(program, child, parents: int, childs: int):
    """Where the two have these values in private memory: mapping and offset of each such place."""
    found, theirs = [], program.maps(child)
    for mapping in program.maps():
        if mapping.flags != "rw-p" or mapping.name == "[stack]" or mapping.size > 1 << 26:
            continue  # larger ones are the sanitizers' own
        old = places(program.memory(mapping), parents)
        if old and any(other.start <= mapping.start and mapping.end <= other.end for other in theirs):
            found += [(mapping, at) for at in sorted(old & places(program.memory(mapping, child), childs))]
    return found


def copied_words(program, child):
    """Where the parent has OLD and the child has NEW, in private memory: mapping and offset of each such place."""
    return private_words(program, child, OLD, NEW)


def require_room(program, addresses) -> None:
    """Each mapping that the program has made is large enough for the word in it."""
    for call in program.recorded():
        size = call.arguments[0]
        for address in addresses if call.name == "mmap" and not call.failed and call.pid == program.pid else []:
            require(not call.result <= address < call.result + max(size, 1) or address + WORD <= call.result + size,
                    f"each mapping is made with room for a word, {WORD} bytes", call,
                    "what follows the requested bytes is mapped only because the kernel rounds up to whole pages")


def in_image(mapping, maps) -> bool:
    """Whether a mapping is the program's own data: named after its file, or the rest of it, right after that."""
    own = [other for other in maps if other.name.endswith("/" + PROGRAM)]
    return any(mapping.start == other.start or (mapping.start == other.end and not mapping.name) for other in own)


@tells_cause
@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    lab.run(PROGRAM, 1, 2, interpose=NO_TIME).require_success()
    for words in [], [1], ["x", 2], [1, "x"], [1, "2x"], [-1, 2], [1, -2], [1, "+2"], ["", 2], [1, ""], [1 << 64, 2], [1, " 2"]:
        lab.run(PROGRAM, *words).require_usage()


@tells_cause
@points(1, read="fork(2), mmap(2); handout, Background")
def test_answers(lab):
    """The parent sees OLD in the global, the heap and the private word, and NEW in the shared one."""
    for pairs in [(1, 2)], [(0, (1 << 64) - 1), (OLD, NEW), (NEW, OLD), (5, 5)]:  # those of a list side by side
        started = [(lab.start(PROGRAM, *pair, stop_at=("end", 1, "c"), interpose=HELD), 1) for pair in pairs]
        for (old, new), run in zip(pairs, come_to_their_ends(*started)):
            require_bytes(run.require_success().stdout, answer(old, old, old, new), f"stdout of fork_copies {old} {new}")


@tells_cause
@points(1, read="mmap(2), MAP_SHARED and MAP_ANONYMOUS; handout, Background")
def test_shared_word(lab):
    """Parent and child map the same shared anonymous memory, and the child's NEW is in it."""
    program, child = child_is_forked(lab)
    mapping = program.common_mappings(program.pid, child)[0]
    at = places(program.memory(mapping), OLD)
    require(at, f"the shared mapping holds {OLD} when the child has been forked", mapping)
    require_room(program, [mapping.start + min(at)])
    goes_to_its_end(program, child)
    mapping = program.common_mappings(program.pid, child)[0]
    require(places(program.memory(mapping), NEW), f"the parent's shared mapping holds {NEW} when the child is about to end",
            mapping)


@tells_cause
@points(2, read="fork(2); handout, Background")
def test_copied_words(lab):
    """The child changes its own copies of the other three: at the same addresses the parent still has OLD."""
    program, child = child_is_forked(lab)
    forked = {mapping.start + at for mapping, at in private_words(program, child, OLD, OLD)}
    goes_to_its_end(program, child)
    children = [process for process in lab.box.processes() if process.parent == program.pid]
    require(len(children) == 1, "one child is forked", children)
    maps, found = program.maps(), copied_words(program, child)
    shown = [f"0x{mapping.start + at:x} in {mapping.line}" for mapping, at in found]
    require(len(found) >= 3,
            f"three places in private memory where the child has stored NEW ({NEW}) and the parent has OLD ({OLD})",
            [f"there are {len(found)}", *shown])
    found = [(mapping, at) for mapping, at in found if mapping.start + at in forked]
    require(len(found) >= 3, f"these three already held OLD ({OLD}) when the child was forked", [f"{len(found)} did", *shown])
    require_room(program, [mapping.start + at for mapping, at in found if not mapping.name])
    require(any(in_image(mapping, maps) for mapping, _ in found),
            "one of them, the global word, is in the program's own data", shown)
    require(any(not mapping.name and not in_image(mapping, maps) for mapping, _ in found),
            "one of them, the private word, is in a mapping without a name: MAP_PRIVATE|MAP_ANONYMOUS", shown)


@tells_cause
@points(1, read="waitpid(2); handout, Steps")
def test_parent_looks(lab):
    """What the parent prints is what is in its memory when the child has ended."""
    program, child = child_has_changed_all(lab)
    slept = require_parent_waits(program)
    mapping, values = program.common_mappings(program.pid, child)[0], []
    for where, at in copied_words(program, child):
        values.append(1000 + len(values))
        program.set_memory(replace(where, start=where.start + at), struct.pack("=Q", values[-1]))
    at = min(places(program.memory(mapping), NEW), default=0)
    program.set_memory(replace(mapping, start=mapping.start + at), struct.pack("=Q", 77))
    program.resume(child)
    run = program.wait().require_success()
    story = ["this check stored other values in the parent's words while the parent waited and the child was stopped", *slept]
    printed = ["stdout:", *run.stdout.decode("utf-8", "replace").splitlines()]
    lines = [line.split(b" ") for line in run.stdout.splitlines()]
    require([line[0].decode() for line in lines] == KINDS and lines[3][1:] == [b"77"],
            "the parent prints the value that is in the shared mapping at the end, 77", story, printed)
    seen = [line[1] for line in lines[:3]]
    require(len(set(seen)) == 3 and set(seen) <= {b"%d" % value for value in values},
            "the parent prints for the other words the values that are in them: three of " + ", ".join(map(str, values)),
            story, printed)


@tells_cause
@points(1, read="execve(2), execvp(3); handout, Background")
def test_exec_drops_the_mappings(lab):
    """A child that executes PROGRAM has none of the parent's mappings left, and what it stored before stays."""
    program = lab.start(PROGRAM, OLD, NEW, "cat", "-", stdin=b"")

    children = []

    def child_waits_in_cat():
        children[:] = [process.pid for process in lab.box.processes() if process.parent == program.pid
                       and process.command == "cat" and program.state(process.pid).phase == "waits"]
        return children or program.started.status is not None

    lab.poll(child_waits_in_cat, 4)
    require(children, "fork_copies OLD NEW cat - has a child that runs cat, and waits for it",
            program.describe_state() if program.started.status is None else program.wait().ending)
    ours = [mapping for mapping in program.maps() if mapping.anonymous]
    theirs = [mapping for mapping in program.maps(children[0]) if mapping.anonymous]
    require(ours and not theirs, "the shared mapping is there in the parent, and not in the child after exec",
            [f"parent: {mapping.line}" for mapping in ours] or "parent: no shared anonymous mapping",
            [f"child: {mapping.line}" for mapping in theirs] or "child: no shared anonymous mapping")
    program.send(b"a line\n")
    program.close_input()
    run = program.wait().require_success()
    require_bytes(run.stdout, b"a line\n" + answer(OLD, OLD, OLD, NEW), "stdout is what cat prints, then the four words")
    run = lab.run(PROGRAM, 1, 2, "echo", "a  b", *"cdefghijklmnopqr").require_success()
    require_bytes(run.stdout, b"a  b c d e f g h i j k l m n o p q r\n" + answer(1, 1, 1, 2),
                  "PROGRAM gets its arguments: stdout of echo 'a  b' c d e …")


@tells_cause
@points(1, read="wait(2), WIFSIGNALED; handout, Steps")
def test_child_fails(lab):
    """A child that is killed or that fails makes the program fail, without an answer."""
    program, child = child_has_changed_all(lab)
    program.kill(child)
    runs = [("the child is killed", program.wait())]
    program = lab.start(PROGRAM, 1, 2, stop_at=("fork", 1, "c"), interpose=NO_TIME)
    program.kill(wait_for_children(program, 1)[0])
    lab.poll(lambda: program.started.status is not None or program.spins, 4)
    require(program.started.status is not None, "the program ends if its child is killed before it stores anything",
            program.describe_state())
    runs += [("the child is killed before it stores anything", program.wait()),
            ("PROGRAM does not exist", lab.run(PROGRAM, 1, 2, "./no-such-program", interpose=NO_TIME)),
            ("PROGRAM is a directory", lab.run(PROGRAM, 1, 2, "/", interpose=NO_TIME))]
    for script, what in [("kill -TERM $$", "is killed by SIGTERM"),
                         *((f"exit {n}", f"ends with exit status {n}") for n in (1, 3, 200))]:
        runs.append((f"PROGRAM {what}", lab.run(PROGRAM, 1, 2, "sh", "-c", script, interpose=NO_TIME)))
    for what, run in runs:
        require(run.exit_status == 1 and run.stderr, f"exit status 1 and a message when {what}", run.ending)
        require(run.stdout == b"", f"nothing on stdout when {what}", run.stdout)
    lab.reset()
    program = lab.start(PROGRAM, 1, 2, "./no-such-program", stop_at=AFTER_A_WAIT, interpose=NO_TIME)
    require(said_by_children(program), "a child that cannot execute PROGRAM reports it on stderr",
            "PROGRAM does not exist; the child has ended, and nothing is on stderr")
    absent = runs[2][1]
    require("no-such-program" in absent.stderr or "exec" in absent.stderr,
            "the message names the program that cannot be executed", absent.ending)


@tells_cause
@points(1, read="waitpid(2), munmap(2); handout, Steps")
def test_tidy(lab):
    """When the program ends, it has waited for the child and unmapped both mappings."""
    program = lab.start(PROGRAM, OLD, NEW, stop_at=[("end", 1, "c"), "end"], interpose=(*KEPT, *NO_TIME))
    child = wait_for_children(program, 1)[0]
    maps = program.maps()
    # The heap may be without a name, too; one of these words is the private mapping's, which must go.
    nameless = [mapping.start + at for mapping, at in copied_words(program, child)
                if not mapping.name and not in_image(mapping, maps)]
    program.resume(child)
    program.wait_stopped()
    now = program.maps()
    left = [process for process in lab.box.processes() if process.pid != program.pid]
    require(not left, "the child is gone, not even a zombie, just before the program ends", left)
    require(not any(mapping.anonymous for mapping in now), "the shared mapping is gone just before the program ends",
            [mapping for mapping in now if mapping.anonymous])
    holders = [mapping for at in nameless for mapping in now if mapping.start <= at < mapping.end]
    require(not nameless or len(holders) < len(nameless), "the private mapping is gone just before the program ends", holders)


@tells_cause
@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""
    lab.each_call_fails(lambda **fault: lab.run(PROGRAM, 1, 2, interpose=NO_TIME, **fault), "child", "process", "wait")
    lab.reset()
    run = lab.run(PROGRAM, 1, 2, stdout="/dev/full", interpose=NO_TIME)
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when stdout is full", run.ending)

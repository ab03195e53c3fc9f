"""Lab 03: a parent and its children share one anonymous mapping."""
import errno
import mmap

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.children import come_to_their_ends, nothing_is_lost, require_parent_waits, tells_cause, wait_for_children
from shmlab.judging.pauses import HELD, NO_TIME
from shmlab.judging.require import CheckFailed

CHILDREN = 4
LAST = 1003  # the parts differ in length


def held_children(lab: LabFixture, where: str, children: int = CHILDREN):
    """The program with all its children stopped, and the children's pids."""
    program = lab.start("anonymous_fork", children, LAST, stop_at=(where, 1, "c"))
    return program, wait_for_children(program, children)


def require_total(run, last: int) -> None:
    total = last * (last + 1) // 2
    run.require_success()
    try:
        require_bytes(run.stdout, b"%d\n" % total, f"{run.command} prints {total}, alone on one line")
    except CheckFailed as failure:
        shares = any(call.name in ("shmat", "syscall") or call.name == "mmap" and call.arguments[2] & mmap.MAP_SHARED
                     for call in run.program.calls)
        if nothing_is_lost(run.program) and not shares:
            failure.saw.append("mmap() was not called with MAP_SHARED: what a child stores stays in its own copy of the memory")
        raise


def require_room(program, mapping, content: bytes) -> None:
    """What the children have stored is within the bytes that the mapping was made with."""
    used = len(content.rstrip(b"\0"))
    for call in program.recorded():
        require(call.name != "mmap" or call.result != mapping.start or used <= call.arguments[0],
                f"the mapping has room for all sums: {CHILDREN} children stored something in {used} bytes", call,
                "what follows the requested bytes is mapped only because the kernel rounds up to whole pages")


@tells_cause
@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    lab.run("anonymous_fork", 3, 10, interpose=NO_TIME).require_success()
    for words in [], [3], [3, 10, 1], [0, 10], [65, 10], ["x", 10], ["3x", 10], [3, "1e3"], [3, -1], [-3, 10], ["", 10]:
        lab.run("anonymous_fork", *words).require_usage()
    lab.run("anonymous_fork", 3, 1000000001).require_usage()


@tells_cause
@points(2, read="handout, Steps")
def test_total(lab):
    """The program prints the sum of 1 to M, for every N and M."""
    few = [(2, 1000), (3, 1000), (7, 100), (5, 3), (4, 0), (2, 1000000)]
    many = [(64, 150000001), (1, 150000001)]  # a double has no room for these
    for pairs in [(1, 1)], few, [(64, 65)], many:  # those of a list side by side
        started = [(lab.start("anonymous_fork", *pair, stop_at=("end", 1, "c"), interpose=HELD), pair[0]) for pair in pairs]
        for (_, last), run in zip(pairs, come_to_their_ends(*started)):
            require_total(run, last)


@tells_cause
@points(2, read="mmap(2), MAP_SHARED and MAP_ANONYMOUS; handout, Background")
def test_all_share_one_mapping(lab):
    """Parent and children map the same shared anonymous memory."""
    program, children = held_children(lab, "fork", 3)
    common = program.common_mappings(program.pid, *children)
    require(len(common) == 1, "one shared anonymous mapping, and no more", common)


@tells_cause
@points(1, read="fork(2); handout, Steps")
def test_children_run_side_by_side(lab):
    """All N children exist at the same time."""
    program = lab.start("anonymous_fork", 20, LAST, stop_at=("fork", 1, "c"), interpose=NO_TIME)
    children = wait_for_children(program, 20)
    for mapping in (mapping for mapping in program.maps() if mapping.anonymous):
        require(not any(program.memory(mapping)), "the shared memory is all zero bytes before a child has added anything", mapping)
    program.resume(*children)
    program.wait().require_success()


@tells_cause
@points(1, read="handout, Picture and Background")
def test_results_are_in_shared_memory(lab):
    """The children leave their sums in the shared memory."""
    program, children = held_children(lab, "end")
    mapping = program.common_mappings(program.pid)[0]
    content = program.memory(mapping)
    require(any(content), "bytes other than zero in the mapping when all children are about to end", mapping)
    require_room(program, mapping, content)
    slept = require_parent_waits(program, "its children are")
    program.set_memory(mapping, bytes(len(content)))
    program.resume(*children)
    run = program.wait()
    require(run.stdout.split() == [b"0"] or run.exit_status != 0,
            "the program adds up what is in the shared memory once the children have ended (this check set it to 0)",
            "stdout:", run.stdout, slept)
    for nth in range(CHILDREN):
        require_not_read_before_the_end_of(lab, nth)


def require_not_read_before_the_end_of(lab: LabFixture, nth: int) -> None:
    """Sets the memory to 0 when one child is at its end and all others have ended: its part must then be missing."""
    lab.reset()
    program = lab.start("anonymous_fork", CHILDREN, LAST, stop_at=[("fork", 1, "c"), ("end", 1, "c")])
    children = sorted(wait_for_children(program, CHILDREN))
    one, others = children[nth], children[:nth] + children[nth + 1:]
    mapping = program.common_mappings(program.pid)[0]
    program.resume(one)
    program.wait_stopped()
    has_part = any(program.memory(mapping))
    program.resume(*others)
    program.resume(*program.wait_stopped(CHILDREN - 1))
    lab.poll(lambda: not any(process.pid in others and process.state != "Z" for process in lab.box.processes()), 4)
    require_parent_waits(program, "one of its children is")
    program.set_memory(mapping, bytes(mapping.size))
    program.resume(one)
    run = program.wait()
    total = LAST * (LAST + 1) // 2
    require(not has_part or run.stdout.split() != [b"%d" % total] or run.exit_status != 0,
            "the program adds up a child's sum when that child has ended, and not before",
            f"child {nth + 1} of {CHILDREN} was stopped just before its end, all others had ended, and the program waited",
            "then this check set the shared memory to 0, but this child's sum is still in the total",
            "stdout:", run.stdout)


@tells_cause
@points(1, read="wait(2), WIFSIGNALED and WEXITSTATUS; handout, Steps")
def test_killed_child(lab):
    """A child that is killed, or ends with an exit status other than 0, makes the program fail."""
    program = lab.start("anonymous_fork", CHILDREN, 1000, stop_at=[("fork", 1, "c"), "end"], interpose=NO_TIME)
    children = sorted(wait_for_children(program, CHILDREN))  # as they were forked: neither the first nor the last is killed
    program.kill(children[1])
    lab.poll(lambda: all(process.pid != children[1] or process.state == "Z" for process in lab.box.processes()), 4)
    program.resume(*(child for child in children if child != children[1]))
    program.wait_stopped()
    left = [process for process in lab.box.processes() if process.pid != program.pid]
    require(not left, "the program also waits for the other children when one of them was killed", left)
    program.resume()
    run = program.wait()
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when a child was killed", run.ending)
    require(run.stdout == b"", "no total when a child was killed", "stdout:", run.stdout)
    run.left_behind.require_nothing()
    run = lab.run("anonymous_fork", CHILDREN, 1000, fail=("end", 1, 3, "c"), interpose=NO_TIME)
    story = "this check made every child end with exit status 3"
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when a child has failed", story, run.ending)
    require(run.stdout == b"", "no total when a child has failed", story, "stdout:", run.stdout)


@tells_cause
@points(1, read="wait(2); handout, Steps")
def test_children_are_reaped(lab):
    """When the program ends, it has waited for every child and unmapped the memory."""
    for fail in None, ("fork", 3, errno.EAGAIN):
        program = lab.start("anonymous_fork", CHILDREN, 1000, stop_at="end", fail=fail, interpose=NO_TIME)
        program.wait_stopped()
        left = [process for process in lab.box.processes() if process.pid != program.pid]
        require(not left, "no child is left, not even as a zombie, when the parent ends" +
                (" because fork() failed" if fail else ""), left)
        mapped = [mapping for mapping in program.maps() if mapping.anonymous]
        require(fail or not mapped, "the shared memory is no longer mapped just before the parent ends", mapped)
        program.resume()
        run = program.wait()
        require(run.exit_status == (1 if fail else 0), f"exit status {1 if fail else 0}", run.ending)
        lab.reset()


@tells_cause
@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""
    waits, child = ("wait", "waitpid", "waitid"), ("child", "process", "wait")

    def scenario(**fault):
        run = lab.run("anonymous_fork", CHILDREN, 1000, interpose=NO_TIME, **fault)
        failed = [call for call in run.program.calls if call.injected and call.failed]
        story = [f"{call.name}() failed with {errno.errorcode[call.error]} (this check made it fail)" for call in failed]
        story += [f"so {call.name}() did not report how a child ended" for call in failed if call.error == errno.ECHILD]
        require(run.stdout == b"" or not failed, "no total when a call has failed", story, "stdout:", run.stdout)
        return run

    def scenario_of_waiting(**fault):
        program = lab.start("anonymous_fork", CHILDREN, 1000, stop_at="end", interpose=NO_TIME, **fault)
        program.wait_stopped()
        left = [process for process in lab.box.processes() if process.pid != program.pid]
        require(len(left) <= len(fault), "the program also waits for the other children when it cannot wait for one", left)
        program.resume()
        return program.wait()

    lab.each_call_fails(scenario, *child, skip=waits)
    lab.reset()
    lab.each_call_fails(scenario_of_waiting, *child, only=waits)
    for name in waits:
        lab.reset()
        run = scenario(fail=(name, 1, errno.ECHILD))
        if any(call.injected for call in run.program.calls):
            require(run.exit_status == 1 and run.stderr and not run.stdout,
                    f"exit status 1, a message, and no total when the first {name}() fails with ECHILD",
                    "then the program cannot know how that child ended", run.ending)
    for nth in 1, 2, CHILDREN:
        lab.reset()
        run = lab.run("anonymous_fork", CHILDREN, 1000, fail=("fork", nth, errno.EAGAIN), interpose=NO_TIME)
        run.require_failure("fork", *child)
        forks = [call for call in run.program.calls if call.name == "fork" and call.pid == run.program.pid]
        require(len(forks) <= nth, f"no further fork() after number {nth}, which failed", f"there were {len(forks)}")
        run.left_behind.require_nothing()

"""Lab 03: a parent and its children share one anonymous mapping."""
import errno

from shmlab import LabFixture, points, require, require_bytes

CHILDREN = 4


def held_children(lab: LabFixture, where: str, children: int = CHILDREN):
    """The program with all its children stopped, and the children's pids. The parts are not all of one length."""
    program = lab.start("anonymous_fork", children, 1003, stop_at=(where, 1, "c"))
    return program, program.wait_stopped(children)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Wrong arguments end with "usage: …" on stderr and exit status 2, right ones with exit status 0."""
    lab.run("anonymous_fork", 3, 10).require_success()
    for words in [], [3], [3, 10, 1], [0, 10], [65, 10], ["x", 10], ["3x", 10], [3, "1e3"], [3, -1], [-3, 10], ["", 10]:
        lab.run("anonymous_fork", *words).require_usage()
    lab.run("anonymous_fork", 3, 1000000001).require_usage()


@points(2, read="handout, Steps")
def test_total(lab):
    """The program prints the sum of 1 to M, for every N and M."""
    for children, last in (1, 1), (2, 1000), (3, 1000), (7, 100), (5, 3), (4, 0), (64, 65), (2, 1000000), (64, 100000000):
        run = lab.run("anonymous_fork", children, last).require_success()
        total = last * (last + 1) // 2
        require_bytes(run.stdout, b"%d\n" % total, f"anonymous_fork {children} {last} prints {total}, alone on one line")


@points(2, read="mmap(2), MAP_SHARED and MAP_ANONYMOUS; handout, Background")
def test_all_share_one_mapping(lab):
    """Parent and children map the same shared anonymous memory."""
    program, children = held_children(lab, "fork", 3)
    program.common_mappings(program.pid, *children)


@points(1, read="fork(2); handout, Steps")
def test_children_run_side_by_side(lab):
    """All N children are there at the same time."""
    program, children = held_children(lab, "fork", 20)
    for mapping in (mapping for mapping in program.maps() if mapping.anonymous):
        require(not any(program.memory(mapping)), "nothing is in the shared memory before a child has counted", mapping)
    program.resume(*children)
    program.wait().require_success()


@points(1, read="handout, Picture and Background")
def test_results_are_in_shared_memory(lab):
    """The children leave their sums in the shared memory."""
    program, children = held_children(lab, "end")
    mapping = program.common_mappings(program.pid)[0]
    content = program.memory(mapping)
    require(any(content), "bytes other than zero in the mapping when all children are about to end", mapping)
    program.set_memory(mapping, bytes(len(content)))
    program.resume(*children)
    run = program.wait()
    require(run.stdout.split() == [b"0"] or run.exit_status != 0,
            "the program adds up what is in the shared memory once the children have ended (this check has set it to 0)",
            "stdout:", run.stdout)


@points(1, read="wait(2), WIFSIGNALED and WEXITSTATUS; handout, Steps")
def test_killed_child(lab):
    """A child that is killed, or ends with another exit status than 0, makes the program fail."""
    program = lab.start("anonymous_fork", CHILDREN, 1000, stop_at=[("fork", 1, "c"), "end"])
    children = sorted(program.wait_stopped(CHILDREN))  # as they were forked: neither the first nor the last is killed
    program.kill(children[1])
    lab.poll(lambda: all(process.pid != children[1] or process.state == "Z" for process in lab.box.processes()), 4)
    program.resume(*(child for child in children if child != children[1]))
    program.wait_stopped()
    left = [process for process in lab.box.processes() if process.pid != program.pid]
    require(not left, "the program waits for the other children, too, when one of them was killed", left)
    program.resume()
    run = program.wait()
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when a child was killed", run.ending)
    require(run.stdout == b"", "no total when a child was killed", "stdout:", run.stdout)
    run.left_behind.require_nothing()
    run = lab.run("anonymous_fork", CHILDREN, 1000, fail=("end", 1, 3, "c"))
    story = "this check made every child end with exit status 3"
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message when a child has failed", story, run.ending)
    require(run.stdout == b"", "no total when a child has failed", story, "stdout:", run.stdout)


@points(1, read="wait(2); handout, Steps")
def test_children_are_reaped(lab):
    """When the program ends, it has waited for every child and unmapped the memory."""
    for fail in None, ("fork", 3, errno.EAGAIN):
        program = lab.start("anonymous_fork", CHILDREN, 1000, stop_at="end", fail=fail)
        program.wait_stopped()
        left = [process for process in lab.box.processes() if process.pid != program.pid]
        require(not left, "no child is left, not even as a zombie, when the parent ends" +
                (" because fork() failed" if fail else ""), left)
        mapped = [mapping for mapping in program.maps() if mapping.anonymous]
        require(fail or not mapped, "the shared memory is not mapped any more just before the parent ends", mapped)
        program.resume()
        run = program.wait()
        require(run.exit_status == (1 if fail else 0), f"exit status {1 if fail else 0}", run.ending)
        lab.reset()


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """Whichever call fails, the program says so, exits with status 1 and leaves nothing behind."""
    waits, child = ("wait", "waitpid", "waitid"), ("child", "process", "wait")

    def scenario(**fault):
        run = lab.run("anonymous_fork", CHILDREN, 1000, **fault)
        if any(call.injected for call in run.program.calls):
            require(run.stdout == b"", "no total when a call has failed", "stdout:", run.stdout)
        return run

    def scenario_of_waiting(**fault):
        program = lab.start("anonymous_fork", CHILDREN, 1000, stop_at="end", **fault)
        program.wait_stopped()
        left = [process for process in lab.box.processes() if process.pid != program.pid]
        require(len(left) <= len(fault), "the program waits for the other children, too, when it cannot wait for one", left)
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
                    "nobody knows then how that child has ended", run.ending)
    for nth in 1, 2, CHILDREN:
        lab.reset()
        run = lab.run("anonymous_fork", CHILDREN, 1000, fail=("fork", nth, errno.EAGAIN))
        run.require_failure("fork", *child)
        forks = [call for call in run.program.calls if call.name == "fork" and call.pid == run.program.pid]
        require(len(forks) == nth, f"no further fork() after number {nth}, which has failed", f"there were {len(forks)}")
        run.left_behind.require_nothing()

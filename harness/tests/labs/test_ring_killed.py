"""Lab 18: wherever one side is killed, the other side ends soon, or another process of the same kind takes over."""
import struct

import pytest

from shmlab import labs
from shmlab import LabFixture

PEER = {"ring_send": "ring_recv", "ring_recv": "ring_send"}
WORD = {"ring_send": 4, "ring_recv": 8}  # offset of each side's pid in the object
LINE = b"hello\n" * 20


def start(bench, program, name, **options):
    words, stdin = ([name, 64], LINE) if program == "ring_send" else ([name], None)
    started = bench.start(program, *words, stdin=stdin, **options)
    started.close_input()
    return started


def has_joined(bench, program, name):
    raw = bench.bytes_if_there(name) or b""
    return len(raw) >= 12 and struct.unpack_from("=i", raw, WORD[program])[0] != 0


def calls_of(bench, program):
    """Returns all calls of a program in a transfer, each with its count, such as ("close", 1)."""
    name, found = bench.name(), []
    both = [start(bench, program, name), start(bench, PEER[program], name)]
    for one in both:
        one.wait().require_success()
    for call in both[0].calls:
        # How often it checks its peer with kill() depends on timing.
        if call.pid == both[0].pid and call.name not in ("start", "exit", "end", "kill"):
            found.append((call.name, 1 + sum(call.name == before for before, _ in found)))
    bench.reset()
    return found


@pytest.mark.parametrize("first", ["victim", "other"])
@pytest.mark.parametrize("program", PEER)
def test_killed_after_any_call(program, first, tier):
    bench = LabFixture(labs.find("18"), labs.SOLUTIONS, tier, "cc", False)
    try:
        calls = calls_of(bench, program)
        assert len(calls) >= 7
        for hold in [*calls, ("end", 1)]:
            name = bench.name()
            other = None
            if first == "other":
                other = start(bench, PEER[program], name)
                other.wait_blocked(lambda call: call.in_futex)
            victim = start(bench, program, name, stop_at=hold)
            if hold[0] in ("munmap", "shm_unlink", "end"):  # it does not get that far without a peer
                other = other or start(bench, PEER[program], name)
            victim.wait_stopped()
            joined = has_joined(bench, program, name)
            victim.kill()
            victim.wait()
            other = other or start(bench, PEER[program], name)
            if joined:
                over = hold[0] in ("munmap", "shm_unlink", "end")
                assert other.wait(2.0).exit_status == (0 if over else 1), (hold, other.finished.ending)
                assert not bench.objects() or over and program == "ring_recv", hold
            elif hold[0] in ("munmap", "shm_unlink", "end"):  # the peer has read everything and unlinked the name
                assert other.wait().exit_status == 0 and not bench.objects(), hold
            else:
                # The peer has not noticed the kill, and a new process takes over.
                again = start(bench, program, name)
                for one in again, other:
                    one.wait().require_success()
                receiver = again if program == "ring_recv" else other
                assert receiver.finished.stdout == LINE and not bench.objects(), hold
            bench.reset()
    finally:
        bench.close()

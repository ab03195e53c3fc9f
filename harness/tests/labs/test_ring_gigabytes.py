"""Lab 18's ring carries 2 GiB in order and unchanged, across the overflow of its counts."""
import os
import random
import select
import struct
import threading
import time

from shmlab import labs
from shmlab.sandbox.box import Box
from shmlab.sandbox.tiers import choose_tier
from shmlab.sandbox.build import build

TOTAL, CAPACITY = 2 << 30, 1 << 16
SECONDS = 120  # time limit; an idle machine needs about five seconds


def blocks():
    """Yields the input in blocks. Each begins with a different line, so that swapped blocks are noticed."""
    some = random.Random(18)
    lines = [some.randbytes(some.randrange(1 << some.randrange(1, 17))).replace(b"\n", b"\r") for _ in range(2000)]
    body = b"\n".join(lines) + b"\n"
    for number in range(TOTAL // len(body) + 1):
        yield b"block %d\n" % number
        yield body


def feed(descriptor: int) -> None:
    """Writes the input to a pipe and closes it; stops early if the reader has ended."""
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        try:
            for block in blocks():
                view = memoryview(block)
                while view:
                    view = view[pipe.write(view):]
        except BrokenPipeError:
            pass


def test_two_gibibytes_arrive_in_order_and_unchanged():
    lab, tier = labs.find("18"), choose_tier(None)
    with Box(tier) as box:
        for program in lab.programs:
            box.put(program, build(lab, program, labs.SOLUTIONS, tier).path.read_bytes(), 0o755)
        # The counts of this ring overflow after 1 GiB.
        name, begin = f"/shmlab-{os.getpid()}", (1 << 32) - (1 << 30)
        box.claimed = lambda: {name}
        with open(os.open(name[1:], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=box.shm_fd), "wb") as ring:
            ring.write(struct.pack("=64xI60xI60x", begin, begin))
            if os.getuid() == 0:
                os.fchown(ring.fileno(), box.uid, box.uid)
        limits = {"wall_ms": SECONDS * 1000, "cpu_s": SECONDS}
        receiver = box.start(["./ring_recv", name], **limits)
        sender = box.start(["./ring_send", name, str(CAPACITY)], stdin=-1, **limits)
        feeder = threading.Thread(target=feed, args=[sender.stdin])
        sender.stdin = -1  # the feeder closes it
        feeder.start()

        out = next(fd for fd, number in receiver.pipes.items() if number == 1)
        arrived, end = 0, time.monotonic() + SECONDS
        for block in blocks():
            at = 0
            while at < len(block):
                assert select.select([out], [], [], end - time.monotonic())[0], f"nothing arrived after {arrived} bytes"
                piece = os.read(out, min(1 << 20, len(block) - at))
                assert piece and piece == block[at:at + len(piece)], f"wrong bytes after the first {arrived}"
                at += len(piece)
                arrived += len(piece)
        assert arrived > TOTAL
        feeder.join()
        assert box.wait(sender, 5) and box.wait(receiver, 5)
        assert sender.status == 0 and receiver.status == 0 and not receiver.output[1], receiver.output[2]
        assert not box.objects()

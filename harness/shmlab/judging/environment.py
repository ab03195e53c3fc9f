"""The environment of one check: its box, and the files, segments and objects that the check makes or looks at in it."""
from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import Dict, List, Optional, Set, Tuple

from ..labs import Lab
from ..sandbox import kernel, native
from ..sandbox.box import Box, BoxedProcess
from ..sandbox.calls import Call, Ring
from ..sandbox.kernel import Object, Segment
from .limits import FEED_SECONDS, WaitLimits
from .require import CheckFailed, require, require_object


class Environment:
    """A box that this check alone uses: a new one, or one that was reset. Nothing carries over from check to check."""

    _spare: Dict[Tuple[str, int], Box] = {}  # by tier and memory: reset after a check that has passed

    def __init__(self, lab: Lab, tier: str, memory_mb: int) -> None:
        self.lab, self.tier = lab, tier
        self.files: Set[str] = set()
        self.preparations: List[str] = []  # for people: what the check did besides starting the program
        self._memory_mb = memory_mb
        self._reusable = True
        self._box: Optional[Box] = None
        self._ring: Optional[Ring] = None
        self._made: Tuple[str, ...] = ()

    @property
    def box(self) -> Box:
        if self._box is None:
            self._box = self._spare.pop((self.tier, self._memory_mb), None) or Box(self.tier, memory_mb=self._memory_mb)
            self._box.claimed = self._claimed_names
            self._box.may_extend = lambda seconds: WaitLimits.extend(self.lab, seconds)
            self._box.claimed_pids = lambda: {call.pid for call in self.read_calls()}
        if self._ring is None:
            self._ring = Ring(self._box.run_fd)
        return self._box

    @property
    def private_ipc(self) -> bool:
        """Whether the box has segments, objects and a /dev/shm of its own, which a check may fill up."""
        return self.tier == "namespaces"

    @property
    def kernel_limits(self) -> bool:
        """Whether a check can set limits of the kernel, such as shmmni, for the box alone; else such faults are injected."""
        return self.private_ipc and self.box.can_set_limits

    def close(self) -> None:
        """Keeps the box for the next check if it can be made as good as new, and if all went as it should in it."""
        if self._box and self._reusable and self._box.reset():
            self._spare[self.tier, self._memory_mb] = self._box
        elif self._box:
            self._box.close()  # in the host tier it asks the ring what is ours to remove
        if self._ring:
            self._ring.close()
        self._box = self._ring = None

    @classmethod
    def close_spare(cls) -> None:
        """For whoever has run checks and will run no more."""
        while cls._spare:
            cls._spare.popitem()[1].close()

    def read_calls(self) -> List[Call]:
        """All that the spy has recorded in this box, oldest first."""
        return self._ring.read()[0] if self._ring else []

    def _claimed_names(self) -> Set[str]:
        """Names in /dev/shm that this run's programs have used."""
        names: Set[str] = set()
        for call in self.read_calls():
            text = "/" + call.text.lstrip("/")
            if call.name in ("shm_open", "link", "linkat", "rename", "open"):
                names.add(text.replace("/dev/shm/", "/", 1))
            if call.name == "sem_open":
                names.add("/sem." + text[1:])
        return names | set(self._made)


    # ---- names

    def file(self, name: str = "meeting_place", content: bytes = b"") -> str:
        """Makes a file in the programs' directory. Gives the name to pass on the command line."""
        self.box.put(name, content)
        if not self.private_ipc:
            self._avoid_taken_key(name, content)
        self.files.add(name)
        return name

    def _avoid_taken_key(self, name: str, content: bytes) -> None:
        """On the machine's own IPC somebody may have the key of our file: take another file (the key is its inode's)."""
        taken = {segment.key & 0xFFFFFF for segment in kernel.parse_segments(self.box.read("/proc/sysvipc/shm"))}
        taken -= {segment.key & 0xFFFFFF for segment in self.segments()}
        for number in range(100):
            if self.ftok(name, 0) not in taken:
                return
            os.rename(name, f".taken-{number}-{secrets.token_hex(4)}", src_dir_fd=self.box.work_fd, dst_dir_fd=self.box.work_fd)
            self.box.put(name, content)

    def ftok(self, name: str, project: int) -> int:
        """The key of a file in the programs' directory, unsigned."""
        return kernel.ftok(os.stat(name, dir_fd=self.box.work_fd), project)

    def name(self) -> str:
        """A name for an object that nobody uses yet."""
        name = f"/shmlab-{secrets.token_hex(4)}"
        self._made += (name,)
        return name

    # ---- an unrelated process

    def tool(self, *words: object, stdin: bytes = b"") -> bytes:
        """Runs native/peer.c as an unrelated process; gives what it prints."""
        peer = self.tool_start(*words, stdin=stdin)
        self.box.close_stdin(peer)
        self.box.wait(peer, 10)
        if peer.status != 0:
            raise CheckFailed("an unrelated process of the same user can use the segment",
                              [peer.output[2].decode("utf-8", "replace").strip()])
        return bytes(peer.output[1])

    def tool_start(self, *words: object, stdin: bytes = b"") -> BoxedProcess:
        peer = self.box.start(["peer", *(str(word) for word in words)], image=native.peer_program(), stdin=-1)
        self.box.claimed_pids = (lambda before, pid: lambda: before() | {pid})(self.box.claimed_pids, peer.pid)
        if stdin:
            self.box.feed(peer, stdin, FEED_SECONDS)
        return peer

    # ---- the kernel's side

    def segments(self) -> List[Segment]:
        return self.box.segments()

    def segment(self, key: int) -> Optional[Segment]:
        return next((s for s in self.segments() if s.key == key), None)

    def make_segment(self, key: int, content: bytes, size: int = 0, mode: int = 0o600) -> Segment:
        """A segment made by an unrelated process, which is gone again."""
        self.preparations.append(f"made a segment with key 0x{key:08x}, {size or len(content)} bytes, mode {mode:04o}")
        shmid = int(self.tool("make", key, size or len(content), mode, stdin=content))
        made = [segment for segment in self.segments() if segment.shmid == shmid]
        require(made, f"the segment {shmid}, which this check has made, is there", self.segments())
        return made[0]

    def segment_bytes(self, segment: Segment) -> bytes:
        """What an unrelated process reads in a segment, `segment.size` bytes."""
        return self.tool("read", segment.shmid)

    def objects(self) -> List[Object]:
        return self.box.objects()

    def object(self, name: str) -> Optional[Object]:
        """The object of that name; None where there is none. Something else of that name fails the check."""
        return next((require_object(o) for o in self.objects() if o.name == name), None)

    def make_object(self, name: str, content: bytes, mode: int = 0o600) -> Object:
        """An object that no program of this check has made."""
        fd = os.open(name[1:], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.box.shm_fd)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if self.box.has_own_user:
                os.fchown(file.fileno(), self.box.uid, self.box.uid)
            os.fchmod(file.fileno(), mode)
        self.preparations.append(f"made an object {name}, {len(content)} bytes, mode {mode:04o}")
        self._made += (name,)
        made = self.object(name)
        require(made, f"the object {name}, which this check has made, is there", self.objects())
        assert made is not None
        return made

    def link_object(self, name: str, second: str) -> None:
        """Gives an object a second name."""
        os.link(name[1:], second[1:], src_dir_fd=self.box.shm_fd, dst_dir_fd=self.box.shm_fd)
        self.preparations.append(f"given the object {name} a second name, {second}")
        self._made += (second,)

    def unlink_object(self, name: str) -> None:
        """Takes a name away, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name[1:], dir_fd=self.box.shm_fd)

    def object_bytes(self, name: str, limit: int = 64 << 20) -> bytes:
        """The bytes of an object, read from outside."""
        content = self.bytes_if_there(name, limit)
        if content is None:
            raise CheckFailed(f"there is an object {name}", self.objects())
        return content

    def bytes_if_there(self, name: str, limit: int = 64 << 20) -> Optional[bytes]:
        """The same where a program may unlink the object at any moment; None where there is none."""
        try:
            fd = os.open(name[1:], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.box.shm_fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckFailed(f"an unrelated process of the same user can open {name}", [str(error.strerror)]) from None
        with os.fdopen(fd, "rb") as file:
            require(stat.S_ISREG(os.fstat(fd).st_mode), f"{name} is an object of shared memory", self.objects())
            return file.read(limit)

    def set_object(self, name: str, content: bytes, at: int = 0, size: Optional[int] = None) -> None:
        """Overwrites bytes of an object from outside, after it has been given a size if one is named."""
        fd = os.open(name[1:], os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.box.shm_fd)
        try:
            if size is not None:
                os.ftruncate(fd, size)
            os.pwrite(fd, content, at)
        finally:
            os.close(fd)

    def fill_shared_memory(self, leave: int = 0) -> None:
        """Uses up /dev/shm, but for so many bytes. Only where private_ipc is true."""
        free = os.fstatvfs(self.box.shm_fd)
        fd = os.open("filler", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self.box.shm_fd)
        os.posix_fallocate(fd, 0, free.f_bavail * free.f_bsize - leave)
        os.close(fd)

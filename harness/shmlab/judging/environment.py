"""The environment of one check: its box, and the files, segments and objects that the check creates or reads in it."""
from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import signal
import stat
from typing import Dict, List, Optional, Sequence, Set, Tuple

from ..labs import Lab
from ..sandbox import kernel, native
from ..sandbox.box import Box
from ..sandbox.build import Built
from ..sandbox.calls import Call, Ring
from ..sandbox.channel import BoxedProcess
from ..sandbox.kernel import Object, Segment
from .limits import FEED_SECONDS, WaitLimits
from .require import CheckFailed, require, require_object


SHORT_TEXT = 200  # bytes of a text that a command may contain


def shell_bytes(content: bytes) -> str:
    """Returns the format with which printf(1) writes these bytes, quoted for the shell."""
    text = "".join(chr(byte) if 32 <= byte < 127 and byte not in b"\\%" else "%%" if byte == 37 else f"\\{byte:03o}"
                   for byte in content)
    return shlex.quote(text)


def _kind(mode: int) -> str:
    """Returns what a file with this st_mode is, in words."""
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe",
             stat.S_IFSOCK: "a socket", stat.S_IFREG: "a regular file"}
    return kinds.get(stat.S_IFMT(mode), "a device")


class Environment:
    """The environment of one check: a box that is new or was emptied, so that no check influences the next."""

    _spare: Dict[Tuple[str, int, bool], Box] = {}  # emptied boxes for further checks, by tier, memory, and what they may execute

    def __init__(self, lab: Lab, tier: str, memory_mb: int, show: Sequence[str] = ()) -> None:
        self.lab, self.tier, self._show = lab, tier, show
        self.files: Set[str] = set()
        self.preparations: List[str] = []  # what the check did besides starting the program, for the feedback
        self._memory_mb = memory_mb
        # The students' edition has finished peers: a program that has one embedded must not become it.
        self._executes = lab.executes
        self._reusable = True
        self._box: Optional[Box] = None
        self._ring: Optional[Ring] = None
        self._created_names: Tuple[str, ...] = ()  # in /dev/shm, by the check itself
        self._made: Dict[str, os.stat_result] = {}  # what this check made, by its name: "file" or "/object"
        self.since = 0  # how often the box was emptied
        self.shell: List[str] = []  # shell commands that do what the check did besides starting programs
        self.repeatable = True  # False after something that has no shell command, so that a failure cannot be repeated by hand

    @property
    def box(self) -> Box:
        if self._box is None:
            self._box = self._spare.pop((self.tier, self._memory_mb, self._executes), None) or Box(
                self.tier, memory_mb=self._memory_mb, show=self._show, executes=self._executes)
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
        """Keeps the box for the next check if the check passed and the box can be emptied; otherwise closes it."""
        if self._box and self._reusable and self._box.reset():
            self._spare[self.tier, self._memory_mb, self._executes] = self._box
        elif self._box:
            self._box.close()  # before the ring: in the host tier the ring says what the programs have made
        if self._ring:
            self._ring.close()
        self._box = self._ring = None

    @classmethod
    def close_spare(cls) -> None:
        """Closes the boxes that were kept for further checks. To be called after the last check."""
        while cls._spare:
            cls._spare.popitem()[1].close()

    def read_calls(self) -> List[Call]:
        """Returns the calls that the spy has recorded in this box, oldest first."""
        return self._ring.read()[0] if self._ring else []

    def lost_calls(self) -> int:
        """Returns how many of the oldest calls the spy has overwritten by newer ones."""
        return self._ring.read()[1] if self._ring else 0

    def _claimed_names(self) -> Set[str]:
        """Returns the names in /dev/shm that the programs of this check, or the check itself, have used."""
        names: Set[str] = set()
        for call in self.read_calls():
            text = "/" + call.text.lstrip("/")
            if call.name in ("shm_open", "link", "linkat", "rename", "open"):
                names.add(text.replace("/dev/shm/", "/", 1))
            if call.name == "sem_open":
                names.update(("/sem." + text[1:], text))  # in glibc, and in musl
        return names | set(self._created_names)

    def forget(self) -> None:
        """Forgets what the check did before the box was emptied."""
        self.since += 1
        self.files.clear()
        self.preparations.clear()
        self._made.clear()
        self.shell.clear()
        self.repeatable = True

    def changes(self, path: object) -> List[str]:
        """Returns what the programs did to a file, object or directory of this check, in lines; empty if nothing is seen.

        @param path  the one that could not be used, as an OSError names it; only this one is examined
        """
        if self._box is None or not isinstance(path, str):
            return []
        name = path.rsplit("/", 1)[-1]
        for known, there in (name, self._box.work_fd), (f"/{name}", self._box.shm_fd):
            if known in self._made:
                before, label = self._made[known], known if there == self._box.work_fd else f"the object {known}"
                try:
                    now = os.stat(name, dir_fd=there, follow_symlinks=False)
                except FileNotFoundError:
                    return [f"{label}, which this check made, is gone"]
                if stat.S_IFMT(now.st_mode) != stat.S_IFMT(before.st_mode):
                    return [f"{label}, which this check made as a regular file, is now {_kind(now.st_mode)}"]
                if now.st_ino != before.st_ino:
                    return [f"{label}, which this check made, was replaced: inode {before.st_ino}, now {now.st_ino}"]
                if now.st_mode != before.st_mode:
                    return [f"{label}, which this check made with mode {stat.S_IMODE(before.st_mode):04o}, "
                            f"now has mode {stat.S_IMODE(now.st_mode):04o}"]
        return []

    def has_executable(self, built: Built) -> bool:
        """Returns whether the program in the box is the one that was put there, by its kind, its mode and its bytes."""
        try:
            mode = os.stat(built.program, dir_fd=self.box.work_fd, follow_symlinks=False).st_mode
            return mode & 0o111 == 0o111 and self.box.get(built.program, 64 << 20) == built.path.read_bytes()
        except OSError:
            return False

    def ended_early(self, path: object) -> Optional[int]:
        """Returns the pid in a path such as "7/maps" or "/proc/7/maps" if it is of a program that ended by itself."""
        found = re.match(r"(?:/proc/)?(\d+)/", path) if isinstance(path, str) and self._box else None
        program = self._box.programs.get(int(found.group(1))) if found and self._box else None
        if program is None or program.status is None or program.status & 0x7F == signal.SIGKILL:
            return None
        return program.pid

    # ---- names

    def file(self, name: str = "meeting_place", content: bytes = b"") -> str:
        """Creates a file in the programs' directory. Returns the name to pass on the command line."""
        self.box.put(name, content)
        if not self.private_ipc:
            self._avoid_taken_key(name, content)
        self.files.add(name)
        self._repeat(shlex.quote(name), content, touch=True)
        self._made[name] = os.stat(name, dir_fd=self.box.work_fd, follow_symlinks=False)
        return name

    def _repeat(self, path: str, content: bytes, touch: bool = False) -> None:
        """Notes the shell command that writes a file."""
        if not content:
            self.shell.append(f"touch {path}" if touch else f": > {path}")
        elif not content.strip(b"\0"):
            self.shell.append(f"truncate -s {len(content)} {path}")
        elif len(content) <= SHORT_TEXT:
            self.shell.append(f"printf {shell_bytes(content)} > {path}")
        else:
            self.repeatable = False

    def _avoid_taken_key(self, name: str, content: bytes) -> None:
        """In the host tier, replaces the file until no other segment on the machine has its key (which has its inode number)."""
        taken = {segment.key & 0xFFFFFF for segment in kernel.parse_segments(self.box.read("/proc/sysvipc/shm"))}
        taken -= {segment.key & 0xFFFFFF for segment in self.segments()}
        for number in range(100):
            if self.ftok(name, 0) not in taken:
                return
            os.rename(name, f".taken-{number}-{secrets.token_hex(4)}", src_dir_fd=self.box.work_fd, dst_dir_fd=self.box.work_fd)
            self.box.put(name, content)

    def ftok(self, name: str, project: int) -> int:
        """Returns the key of a file in the programs' directory, unsigned. See ftok(3)."""
        return kernel.ftok(os.stat(name, dir_fd=self.box.work_fd), project)

    def name(self, end: str = "") -> str:
        """Returns a random name for an object, "/shmlab-", 8 hexadecimal digits and `end`."""
        name = f"/shmlab-{secrets.token_hex(4)}{end}"
        self._created_names += (name,)
        return name

    # ---- an unrelated process

    def tool(self, *words: object, stdin: bytes = b"") -> bytes:
        """Runs native/peer.c as an unrelated process and returns what it prints. Fails the check if it does not succeed."""
        before = self.repeatable
        peer = self.tool_start(*words, stdin=stdin)
        self.repeatable = before and words[:1] == ("read",)  # reading changes nothing
        self.box.close_stdin(peer)
        self.box.wait(peer, 10)
        if peer.status != 0:
            raise CheckFailed("an unrelated process of the same user can use the segment",
                              [peer.output[2].decode("utf-8", "replace").strip()])
        return bytes(peer.output[1])

    def tool_start(self, *words: object, stdin: bytes = b"") -> BoxedProcess:
        """Starts native/peer.c as an unrelated process and does not wait for it."""
        self.repeatable = False
        peer = self.box.start(["peer", *(str(word) for word in words)], image=native.peer_program(), stdin=-1)
        self.box.claimed_pids = (lambda before, pid: lambda: before() | {pid})(self.box.claimed_pids, peer.pid)
        if stdin:
            self.box.feed(peer, stdin, FEED_SECONDS)
        return peer

    # ---- segments and objects

    def segments(self) -> List[Segment]:
        return self.box.segments()

    def segment(self, key: int) -> Optional[Segment]:
        return next((s for s in self.segments() if s.key == key), None)

    def make_segment(self, key: int, content: bytes, size: int = 0, mode: int = 0o600) -> Segment:
        """Creates a segment through an unrelated process, which then exits.

        @param size  in bytes; 0: the length of `content`
        """
        self.preparations.append(f"made a segment with key 0x{key:08x}, {size or len(content)} bytes, mode {mode:04o}")
        shmid = int(self.tool("make", key, size or len(content), mode, stdin=content))
        found = [segment for segment in self.segments() if segment.shmid == shmid]
        require(found, f"the segment {shmid}, which this check has made, is there", self.segments())
        return found[0]

    def remove_segment(self, segment: Segment) -> None:
        """Removes a segment, as another process of its owner could."""
        self.box.remove_segment(segment.shmid)
        self.preparations.append(f"removed the segment {segment.shmid}")

    def segment_bytes(self, segment: Segment) -> bytes:
        """Returns the content of a segment, `segment.size` bytes, as an unrelated process reads it."""
        return self.tool("read", segment.shmid)

    def objects(self) -> List[Object]:
        return self.box.objects()

    def object(self, name: str) -> Optional[Object]:
        """Returns the object of that name, or None. Fails the check if the name is something else, such as a link."""
        return next((require_object(o) for o in self.objects() if o.name == name), None)

    def make_object(self, name: str, content: bytes, mode: int = 0o600) -> Object:
        """Creates an object that belongs to the programs' user."""
        fd = os.open(name[1:], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.box.shm_fd)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if self.box.has_own_user:
                os.fchown(file.fileno(), self.box.uid, self.box.uid)
            os.fchmod(file.fileno(), mode)
            self._made[name] = os.fstat(file.fileno())
        self.preparations.append(f"made an object {name}, {len(content)} bytes, mode {mode:04o}")
        self._repeat(f"/dev/shm{name}", content)
        if mode != 0o644:
            self.shell.append(f"chmod {mode:04o} /dev/shm{name}")
        self._created_names += (name,)
        found = self.object(name)
        require(found, f"the object {name}, which this check has made, is there", self.objects())
        assert found is not None
        return found

    def link_object(self, name: str, second: str) -> None:
        """Creates a second name for an object."""
        try:
            os.link(name[1:], second[1:], src_dir_fd=self.box.shm_fd, dst_dir_fd=self.box.shm_fd)
        except (FileNotFoundError, FileExistsError):
            raise CheckFailed(f"there is an object {name}, and no object {second} yet", self.objects()) from None
        self.preparations.append(f"given the object {name} a second name, {second}")
        self.shell.append(f"ln /dev/shm{name} /dev/shm{second}")
        self._created_names += (second,)

    def unlink_object(self, name: str) -> None:
        """Removes a name, if it still exists."""
        self._made.pop(name, None)
        self.shell.append(f"rm -f /dev/shm{name}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name[1:], dir_fd=self.box.shm_fd)

    def object_bytes(self, name: str, limit: int = 64 << 20) -> bytes:
        """Returns the first `limit` bytes of an object, which must exist."""
        content = self.bytes_if_there(name, limit)
        if content is None:
            raise CheckFailed(f"there is an object {name}", [item.line for item in self.objects()] or ["/dev/shm: no object"])
        return content

    def bytes_if_there(self, name: str, limit: int = 64 << 20) -> Optional[bytes]:
        """Like object_bytes(), but returns None if there is no object, because a program may unlink it at any moment."""
        try:
            fd = self._open_object(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            with open(fd, "rb", closefd=False) as file:
                return file.read(limit)
        finally:
            os.close(fd)

    def _open_object(self, name: str, access: int) -> int:
        """Opens an object whatever its mode is, which is another check's affair. Raises OSError like open(2).

        Root needs no permission. An ordinary user is the object's owner: the mode is changed, and changed back.
        """
        flags = access | os.O_CLOEXEC | os.O_NONBLOCK
        found = os.open(name[1:], os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.box.shm_fd)
        try:
            mode = os.fstat(found).st_mode
            require(stat.S_ISREG(mode), f"{name} is a shared memory object", self.objects())
            path = f"/proc/self/fd/{found}"
            try:
                return os.open(path, flags)
            except PermissionError:
                os.chmod(path, stat.S_IMODE(mode) | 0o600)
                try:
                    return os.open(path, flags)
                finally:
                    os.chmod(path, stat.S_IMODE(mode))
        finally:
            os.close(found)

    def set_object(self, name: str, content: bytes, at: int = 0, size: Optional[int] = None) -> None:
        """Overwrites bytes of an object.

        @param at    offset of the first byte
        @param size  if given, the object is truncated or extended to this many bytes first
        """
        self.repeatable = False
        try:
            fd = self._open_object(name, os.O_RDWR)
        except FileNotFoundError:
            raise CheckFailed(f"there is an object {name}", self.objects()) from None
        try:
            if size is not None:
                os.ftruncate(fd, size)
            os.pwrite(fd, content, at)
        finally:
            os.close(fd)

    def fill_shared_memory(self, leave: int = 0) -> None:
        """Fills /dev/shm up to the last `leave` bytes. Only where private_ipc is true."""
        self.repeatable = False
        free = os.fstatvfs(self.box.shm_fd)
        fd = os.open("filler", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self.box.shm_fd)
        os.posix_fallocate(fd, 0, free.f_bavail * free.f_bsize - leave)
        os.close(fd)

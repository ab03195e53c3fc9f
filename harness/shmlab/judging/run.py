"""A program that has ended: its exit status, what it printed, and what it left behind."""
from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, List, Optional, Sequence

from ..sandbox import kernel
from ..sandbox.box import Contents
from ..sandbox.calls import RECORDED_TEXT
from ..sandbox.kernel import Object, Segment, show
from .require import require, require_object

if TYPE_CHECKING:
    from .program import Program

# What strerror(0) returns in the GNU C library and in musl. Of the errors that occur in the labs, only ECHILD has another
# text in musl.
SUCCESS = os.strerror(0), "No error information"
MUSL_REASONS = {*SUCCESS, "No child process"}


class LeftBehind(Contents):
    """What the box contained after the program ended and not before it started."""

    @property
    def lines(self) -> List[str]:
        return ([s.line for s in self.segments] + [o.line for o in self.objects] +
                [p.line for p in self.processes] + [f"semaphore set {i}" for i in self.semaphores] +
                [f"message queue {i}" for i in self.queues])

    def one_segment(self) -> Segment:
        """Returns the only segment. Fails the check if there is none or more than one."""
        require(len(self.segments) == 1, "one segment is there after the program has ended",
                self.lines or "/proc/sysvipc/shm: no segment")
        return self.segments[0]

    def one_object(self, name: str) -> Object:
        """Returns the object of that name. Fails the check if it is missing or there is another."""
        require([o.name for o in self.objects] == [name],
                f"the object {name}, and no other, is there after the program has ended",
                self.lines or "/dev/shm: no object")
        return require_object(self.objects[0])

    def require_nothing(self) -> None:
        require(not self.lines, "nothing is left when the program has ended", self.lines)


@dataclass
class Run:
    """A program that has ended. `status` is its wait status, `cpu` and `wall` are seconds; `notes` are for the feedback."""

    name: str
    command: str
    status: int
    stdout: bytes
    stderr: str
    cpu: float
    wall: float
    left_behind: LeftBehind
    program: "Program" = field(repr=False)
    notes: List[str] = field(default_factory=list)

    @property
    def exit_status(self) -> Optional[int]:
        """The exit status; None if a signal ended the program."""
        return kernel.exit_status_of(self.status)

    @property
    def signal(self) -> Optional[str]:
        """The name of the signal that ended the program, such as "SIGSEGV"; None if it exited."""
        return kernel.signal_of(self.status)

    def says(self, words: Sequence[str]) -> bool:
        """Returns whether stderr contains one of the words, in upper or lower case; the program's own name does not count."""
        text = self.stderr.replace(f"{self.name}:", "").replace(f"./{self.name}", "").lower()
        return any(word.lower() in text for word in words)

    @property
    def says_success(self) -> bool:
        """Whether the reason in the message is that of errno 0: "Success"."""
        return any(reason in self.stderr for reason in SUCCESS)

    def other_reason(self, number: int) -> str:
        """Returns the reason in the message if it is another error's than that of errno `number`; else an empty string."""
        if os.strerror(number) in self.stderr:
            return ""
        others = {os.strerror(other) for other in errno.errorcode} | MUSL_REASONS
        return next((reason for reason in sorted(others) if reason in self.stderr), "")

    @property
    def ending(self) -> List[str]:
        """Lines for a message: how the program ended, and the end of its stderr."""
        self.program.make_subject()
        how = f"{self.name} was killed by {self.signal}" if self.signal else f"{self.name}: exit status {self.exit_status}"
        said = [f"stderr: {line}" for line in self.stderr.strip().splitlines()[-6:]]
        return [how, *self.notes, *(said or (["stderr: (nothing)"] if self.status else []))]

    def require_success(self) -> "Run":
        """Fails the check unless the exit status is 0."""
        require(self.exit_status == 0, "the program ends with exit status 0", self.ending,
                "the reason in its message is that of errno 0: the program treated a successful result as a failure"
                if self.says_success else [])
        return self

    def require_failure(self, *words: str, because: str = "") -> "Run":
        """Fails the check unless the exit status is 1 and stderr contains one of the words.

        @param because  what the program should have noticed, for the message
        """
        story = [because] if because else []
        require(self.exit_status == 1, "the program notices the failure and ends with exit status 1", story, self.ending)
        require("TODO" not in self.stderr, "the program is finished", self.ending)
        require(self.says(words),
                "the message on stderr names the call or the object: " + " or ".join(words), story, self.ending)
        return self

    def require_no_format(self, *typed: str) -> "Run":
        """What a user typed is never the format of printf(), err() or syslog().

        Of `%%` in a format one `%` is printed, and many `%s` read arguments that are not there until a signal comes.
        """
        for text in typed:
            for stream, printed in ("stdout", self.stdout.decode("utf-8", "replace")), ("stderr", self.stderr):
                taken = [line for line in printed.replace(text, "").splitlines() if text.replace("%%", "%") in line]
                require("%%" not in text or not taken,
                        f'"{text}" is printed unchanged, as printf("%s", …) or err(1, "%s", …) does',
                        [f"{stream}: {line}" for line in taken], "here it is the format itself: %% in a format prints one %")
        many = next((text for text in self.program.words if "%s" * 30 in text), "")
        require(not (self.signal and many), "the program uses what the user typed unchanged",
                f"what was typed is {show(os.fsencode(many), 20)} ({len(many)} characters)", self.ending,
                "is it the format of a printf(), err() or syslog()? There each %s reads an argument, and there is none"
                if many else "")
        return self

    def require_name(self, name: str) -> "Run":
        """NAME goes to shm_open() and shm_unlink() as it is: how a C library changes a name, if it does, is its own affair."""
        passed = [call for call in self.program.calls if call.name in ("shm_open", "shm_unlink") and call.text]
        wrong = [call for call in passed if os.fsencode(call.text) != os.fsencode(name)[:RECORDED_TEXT]]
        require(not wrong, f"shm_open() and shm_unlink() get NAME unchanged: {name}", wrong)
        return self

    def require_each_failure_told(self) -> "Run":
        """Fails the check unless stderr has the name or the reason of each call that the check made fail, even of several."""
        failed = [call for call in self.program.calls if call.injected and call.failed]
        story = [f"{call.name}() failed with {errno.errorcode[call.error]} (this check made it fail)" for call in failed]
        require(self.exit_status == 1 or not failed, "the program notices the failure and ends with exit status 1", story,
                self.ending)
        unreported = [call.name for call in failed if not self.says((call.name, os.strerror(call.error)))]
        require(not unreported, "each failure is reported, even in a call that cleans up: " + ", ".join(unreported), story,
                self.ending)
        reasons = [os.strerror(call.error) for call in failed]
        require(all(self.stderr.count(reason) <= reasons.count(reason) for reason in reasons),
                "each failure is reported with its own reason", story, self.ending)
        return self

    def require_usage(self) -> "Run":
        """Fails the check unless the program printed a usage line on stderr and ended with exit status 2."""
        require(self.exit_status == 2 and "usage:" in self.stderr.lower(),
                'a line "usage: …" on stderr and exit status 2', f"{self.command}", self.ending)
        return self

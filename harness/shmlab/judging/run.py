"""A program that has ended: how, what it printed, and what it left behind."""
from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, List, Optional, Sequence

from ..sandbox.box import Contents
from ..sandbox.kernel import Object, Segment, show
from .require import require, require_object

if TYPE_CHECKING:
    from .program import Program

# What the GNU C library and musl say for errno 0. Else musl has other words, of what students mix up, for ECHILD alone.
SUCCESS = os.strerror(0), "No error information"
MUSL_REASONS = {*SUCCESS, "No child process"}

RECORDED_TEXT = 39  # bytes of a string that the spy records at most


class LeftBehind(Contents):
    """What there was when the program had ended and had not been there when it began."""

    @property
    def lines(self) -> List[str]:
        return ([s.line for s in self.segments] + [o.line for o in self.objects] +
                [p.line for p in self.processes] + [f"semaphore set {i}" for i in self.semaphores] +
                [f"message queue {i}" for i in self.queues])

    def one_segment(self) -> Segment:
        """The only segment; anything else fails the check."""
        require(len(self.segments) == 1, "one segment is there after the program has ended",
                self.lines or "/proc/sysvipc/shm: no segment")
        return self.segments[0]

    def one_object(self, name: str) -> Object:
        """The object of that name; the check fails when it is missing or not alone."""
        require([o.name for o in self.objects] == [name],
                f"the object {name}, and no other, is there after the program has ended",
                self.lines or "/dev/shm: no object")
        return require_object(self.objects[0])

    def require_nothing(self) -> None:
        require(not self.lines, "nothing is left when the program has ended", self.lines)


@dataclass
class Run:
    """A program that has ended."""

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
        """None when a signal ended it."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    @property
    def signal(self) -> Optional[str]:
        """Such as "SIGSEGV"; None when it ended by itself."""
        if not os.WIFSIGNALED(self.status):
            return None
        number = os.WTERMSIG(self.status)
        return signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"

    def says(self, words: Sequence[str]) -> bool:
        """Whether one of the words is in the message on stderr, in any case, the program's own name in front left out."""
        text = self.stderr.replace(f"{self.name}:", "").replace(f"./{self.name}", "").lower()
        return any(word.lower() in text for word in words)

    @property
    def says_success(self) -> bool:
        """Whether the message gives as its reason that nothing has failed: what errno 0 stands for."""
        return any(reason in self.stderr for reason in SUCCESS)

    def other_reason(self, number: int) -> str:
        """The reason that the message gives, if it is another error's than this one's."""
        if os.strerror(number) in self.stderr:
            return ""
        others = {os.strerror(other) for other in errno.errorcode} | MUSL_REASONS
        return next((reason for reason in sorted(others) if reason in self.stderr), "")

    @property
    def ending(self) -> List[str]:
        """How it ended and what it said, for people."""
        self.program.make_subject()
        how = f"{self.name} was killed by {self.signal}" if self.signal else f"{self.name}: exit status {self.exit_status}"
        said = [f"stderr: {line}" for line in self.stderr.strip().splitlines()[-6:]]
        return [how, *self.notes, *(said or (["stderr: (nothing)"] if self.status else []))]

    def require_success(self) -> "Run":
        require(self.exit_status == 0, "the program ends with exit status 0", self.ending,
                "the reason in its message is that of no failure: it has taken a right result for a failure"
                if self.says_success else [])
        return self

    def require_failure(self, *words: str, because: str = "") -> "Run":
        """Exit status 1, and a message on stderr that holds one of the words; `because` tells what was wrong."""
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
                        f'"{text}" is printed as it is, as printf("%s", …) or err(1, "%s", …) does',
                        [f"{stream}: {line}" for line in taken], "here it is the format itself: %% in a format prints one %")
        many = next((text for text in self.program.words if "%s" * 30 in text), "")
        require(not (self.signal and many), "the program uses what the user typed as it is",
                f"what was typed is {show(os.fsencode(many), 20)} ({len(many)} characters)", self.ending,
                "is it the format of a printf(), err() or syslog()? There each %s reads an argument, and there is none"
                if many else "")
        return self

    def require_name(self, name: str) -> "Run":
        """NAME goes to shm_open() and shm_unlink() as it is: how a C library changes a name, if it does, is its own affair."""
        passed = [call for call in self.program.calls if call.name in ("shm_open", "shm_unlink") and call.text]
        wrong = [call for call in passed if os.fsencode(call.text) != os.fsencode(name)[:RECORDED_TEXT]]
        require(not wrong, f"shm_open() and shm_unlink() get NAME as it is: {name}", wrong)
        return self

    def require_each_failure_told(self) -> "Run":
        """Of the calls that a check has made fail, and of which there may be two, each is named, or its reason is given."""
        failed = [call for call in self.program.calls if call.injected and call.failed]
        story = [f"{call.name}() failed with {errno.errorcode[call.error]} (this check made it fail)" for call in failed]
        require(self.exit_status == 1 or not failed, "the program notices the failure and ends with exit status 1", story,
                self.ending)
        untold = [call.name for call in failed if not self.says((call.name, os.strerror(call.error)))]
        require(not untold, "each failure is told, also that of a call that cleans up: " + ", ".join(untold), story, self.ending)
        reasons = [os.strerror(call.error) for call in failed]
        require(all(self.stderr.count(reason) <= reasons.count(reason) for reason in reasons),
                "each failure is told with its own reason", story, self.ending)
        return self

    def require_usage(self) -> "Run":
        require(self.exit_status == 2 and "usage:" in self.stderr.lower(),
                'a line "usage: …" on stderr and exit status 2', f"{self.command}", self.ending)
        return self

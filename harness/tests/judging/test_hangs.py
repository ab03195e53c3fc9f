"""A hang is told from what the programs do, and not from the time: one that spins, and one that looks again and again."""
import time

import pytest

from shmlab import labs
from shmlab.judging.fixture import LabFixture
from shmlab.judging.limits import WALL_SECONDS, WaitLimits
from shmlab.judging.require import CheckFailed

HEAD = "#include <semaphore.h>\n#include <stdio.h>\n#include <string.h>\n#include <time.h>\n#include <unistd.h>\n"
LOOKS = """
static sem_t sem;
sem_init(&sem, 0, 0);
for (;;) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 10000000;
    if (until.tv_nsec >= 1000000000)
        until.tv_sec++, until.tv_nsec -= 1000000000;
    sem_timedwait(&sem, &until);%s
}
"""


@pytest.fixture
def start(tmp_path):
    """Starts a program with this body of main() as a student's, in a lab with one program."""
    lab = labs.find("05")
    fixtures = []

    def start_program(body):
        directory = tmp_path / lab.name
        directory.mkdir()
        (directory / "sysv_create.c").write_text(f"{HEAD}int main(int argc, char *argv[])\n{{\n(void)argc, (void)argv;\n{body}\n}}\n")
        fixtures.append(LabFixture(lab, tmp_path, "namespaces", "cc", False))
        return fixtures[0].start("sysv_create")

    yield start_program
    for fixture in fixtures:
        fixture.close()


def failure_of(program):
    with pytest.raises(CheckFailed) as failure:
        program.wait(60)
    return failure.value.saw[0]


def test_one_that_spins_has_a_limit_of_processor_time(start):
    said = failure_of(start("for (;;) ;"))
    assert said.startswith("after ") and said.endswith(" s of processor time it had not ended")


def test_one_that_looks_again_and_again_at_what_does_not_change_is_given_up(start):
    began = time.monotonic()
    assert failure_of(start(LOOKS % "")) == "when each had woken up many times and nothing had changed, it had not ended"
    assert time.monotonic() - began < 60


def test_one_that_changes_something_between_its_looks_goes_on(start):
    program = start(LOOKS % 'static int n;\nif (putchar(\'x\') == EOF || fflush(stdout) == EOF || ++n == 50)\n    return 0;')
    assert program.wait(60).stdout == b"x" * 50


@pytest.mark.parametrize("body", ["sleep(2);", "for (int i = 0; i < 100; i++)\n    usleep(1000);"], ids=["once", "often"])
def test_one_that_sleeps_and_goes_on_is_waited_for(start, body):
    assert start(body + "\nreturn 0;").wait(60).exit_status == 0


def test_after_a_hang_less_is_granted(start):
    program = start("for (;;)\n    (void)argv;")
    before = WaitLimits.limit(WALL_SECONDS, program), WaitLimits.busy(program)
    failure_of(program)
    after = WaitLimits.limit(WALL_SECONDS, program), WaitLimits.busy(program)
    assert after[0] < before[0] and after[1] < before[1]


def test_a_library_that_a_running_program_uses_is_not_written_again(start):
    first = start("for (int i = 0; i < 50; i++)\n    usleep(1000);\nreturn 0;")
    first.wait()
    lab = first.fixture
    programs = [lab.start("sysv_create", interpose=("short_sleep",)) for _ in range(4)]
    assert [program.wait().exit_status for program in programs] == [0] * 4

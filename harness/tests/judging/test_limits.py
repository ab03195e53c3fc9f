"""The limits of waiting are measured against the machine: a slow start, or a slow machine, is not the program's fault."""
import shutil
import subprocess

import pytest
import running

from shmlab import labs
from shmlab.judging import limits

#: What emulation does: the processor works before main() for longer than a program may that is about to wait.
SLOW_START = """#include <time.h>
__attribute__((constructor)) static void slow_machine(void)
{
    while (clock() < CLOCKS_PER_SEC * 35 / 100)
        ;
}

int main("""


def test_a_slow_start_does_not_count(tmp_path):
    """Else each reader of lab 11 is taken to spin. The checks that start it hundreds of times say no more about this."""
    assert 0.35 > limits.SPIN_SECONDS
    shutil.copytree(labs.SOLUTIONS / "11_named_pair", tmp_path / "11_named_pair")
    source = tmp_path / "11_named_pair" / "reader.c"
    source.write_text(source.read_text().replace("int main(", SLOW_START, 1))
    checked = running.check("11", tmp_path, only="reference or sleeps or interrupted")
    assert not checked.not_passed() and len(checked.checks) == 4, checked.output


@pytest.fixture
def slow_machine(tmp_path, monkeypatch):
    """A machine on which an empty program takes 50 ms of the processor."""
    source = "#include <time.h>\nint main(void) { while (clock() < CLOCKS_PER_SEC / 20) ; }"
    subprocess.run(["cc", "-x", "c", "-o", tmp_path / "true", "-"], input=source, text=True, check=True)
    limits.slowness.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    yield
    limits.slowness.cache_clear()


def test_limits_are_multiples_of_an_empty_programs_start(slow_machine):
    assert 4 <= limits.slowness() <= limits.MOST_SLOWNESS
    assert limits.WaitLimits.limit(limits.WALL_SECONDS) == limits.WALL_SECONDS * limits.slowness()

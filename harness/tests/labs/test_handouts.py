"""What the handouts show as output is what the finished programs, and the handouts' own examples, print.

Run is what needs no second terminal, debugger or tracer. A handout ends for us at the first command that does, as
what comes after it builds on that.
"""
import re

import pytest
from examples import compile_example, masked

from shmlab import labs
from shmlab.sandbox import box

LABS = labs.all_labs()
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
BY_A_PERSON = re.compile(r"gdb|strace|unshare|/proc/|&|\{$| sh$|^$|^\./(reader|ring_recv) \S+$|^\./sender \S+ '")
MASKS = [(r"^(plain) \d+ lost \d+", r"\1 N lost N"), (r"^segment \d+", "segment ID"),
         (r"^([acd]time|[cl]pid|shmid) \d+", r"\1 N"),
         (r"^(HEX) \d+ OWNER", r"\1 ID OWNER"), (r"OWNER \S+ \S+", "OWNER")]


def commands(lab):
    """Yields each command of a handout that can run here, with the output that the handout shows."""
    for block in re.findall(r"^```console\n(.*?)^```", lab.handout, re.M | re.S):
        for command, output in re.findall(r"^[$#] ?(.*)\n((?:(?![$#] ).*\n)*)", block, re.M):
            if BY_A_PERSON.search(command):
                return
            if not command.startswith("cc "):
                yield command, output.strip()


def examples(lab):
    """Returns the complete C programs in a handout, by the names to which the commands after them compile them."""
    found = re.findall(r"^```c\n((?:(?!```).*\n)+)```\n(?:(?!```).*\n)*```console\n.*-o (\w+)", lab.handout, re.M)
    return {name: source for source, name in found if "int main(" in source}


def run(lab, lines, directory):
    """Runs the commands in one shell and one box. Returns the output of each."""
    programs = set(re.findall(r"/(\w+)\b", " ".join(lines)))
    script = f"exec 2>&1\nmkdir {' '.join(other.name for other in LABS)}\n"
    with box.Box("namespaces") as inside:
        for other in LABS:
            for program in sorted(programs & set(other.programs)):
                built = directory / program
                done = compile_example(labs.SOLUTIONS / other.name / f"{program}.c", built)
                assert done.returncode == 0, done.stderr
                inside.put(program, built.read_bytes(), 0o755)
                script += f"cp {program} {other.name}/; cp -n {program} {lab.name}/\n"
        for name, source in examples(lab).items():
            (directory / f"{name}.c").write_text(source)
            assert compile_example(directory / f"{name}.c", directory / name).returncode == 0
            inside.put(name, (directory / name).read_bytes(), 0o755)
            script += f"cp {name} {lab.name}/\n"
        script += f"cd {lab.name}\n" + "".join(f"echo '\x01'\n{line}\n" for line in lines)
        shell = inside.start(["/bin/bash", "-c", script])
        assert inside.wait(shell, 20), "the commands did not end"
        return [part.strip() for part in bytes(shell.output[1]).decode().split("\x01")[1:]]


def alike(text):
    """Replaces what differs between runs and sorts the lines: stderr can overtake buffered lines of stdout."""
    text = masked(text)
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text, flags=re.M)
    return sorted(text.splitlines())


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_output_in_the_handout_is_what_a_run_prints(lab, tmp_path):
    todo = list(commands(lab))
    printed = run(lab, [command for command, _ in todo], tmp_path)
    assert len(printed) == len(todo)
    for (command, expected), output in zip(todo, printed):
        assert alike(output) == alike(expected), command


def test_most_labs_show_what_can_be_run():
    counts = {lab.name: len(list(commands(lab))) for lab in LABS}
    assert sum(counts.values()) >= 80 and sum(count >= 2 for count in counts.values()) >= 15, counts


@pytest.mark.parametrize("cc", ["gcc", "clang", "musl-gcc"])
def test_examples_in_the_handouts_compile_without_a_warning(cc, tmp_path):
    found = [(name, source) for lab in LABS for name, source in examples(lab).items()]
    assert len(found) == sum(lab.handout.count("int main(") for lab in LABS) >= 1
    for name, source in found:
        (tmp_path / f"{name}.c").write_text(source)
        done = compile_example(tmp_path / f"{name}.c", tmp_path / name, *WARNINGS, cc=cc)
        assert done.returncode == 0, done.stderr

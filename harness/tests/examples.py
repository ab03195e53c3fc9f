"""Generates the output that the pages quote.

    python3 harness/tests/examples.py      writes docs/examples/*.out; review the changes with `git diff`

docs/examples/NAME.run contains the lines that a reader types. NAME.out is the transcript of running them in a box. The
verdicts are what `make check` prints for one check, the pictures what `make trace` prints.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import running  # noqa: E402
from shmlab import gallery, labs  # noqa: E402
from shmlab.sandbox import box  # noqa: E402

EXAMPLES = labs.ROOT / "docs" / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.c"))
RECIPES = sorted(EXAMPLES.glob("*.run"))
VERDICTS = {"verdict_unfinished": ("01_page_size", None, "test_kind_of_mapping"),
            "verdict_private": ("03_anonymous_fork", "private_mapping", "test_all_share_one_mapping")}
TRACES = {"trace_segment": "05"}

MASKS = [  # applied in this order; the first turns runs of spaces into one
    (r"[ \t]+", " "), (r" +$", ""),
    (r"\b[0-9a-f]{8,16}-[0-9a-f]{8,16}\b", "ADDRESSES"), (r"0x[0-9a-f]{8,16}\b", "HEX"), (r"SYSV[0-9a-f]{8}", "SYSVKEY"),
    (r"\b[0-9a-f]{2,4}:[0-9a-f]{2,4} \d+ ", "DEVICE INODE "),         # maps
    (r"^\w+ \d+ \w+( \w+ REG) \d+,\d+( \d+)+ ", r"NAME PID USER\1 NUMBERS "),  # lsof
    (r"^(HEX \d+) \w+", r"\1 OWNER"),                                 # ipcs
    (r"^(?:\d+ )?(-[rwx-]{9} 1) \w+ \w+ (\d+) \w+ \d+ \d\d:\d\d", r"\1 OWNER GROUP \2 DATE"),  # ls
    (r"(/[\w.-]+)*/(place|five_kinds)\b", r"FOLDER/\2"),
    (r"on device \S+", "on DEVICE"), (r"/proc/\d+/", "/proc/PID/"),  # address, lifetime
    (r"device \S+, inode \d+", "DEVICE INODE"), (r"\binode \d+", "INODE"), (r"owner \d+", "OWNER"),  # shmls
    (r"^ ?\d+ \d+ (five_kinds)", r"PID USER \1"), (r"\b\d+ (five_kinds)$", r"PID \1"), (r" \d\d:\d\d ", " TIME "),
    (r"^.*Bus error.*$", "Bus error"), (r"^(?!\$).*Killed.*$", "Killed"),  # the rest of the line depends on the shell
    (r"process \d+", "process"), (r"\w+\.c:\d+ \[\d+\]", "PLACE"),
    (r"^ PLACE fork\(\).*\n", ""),                                   # parent and child appear in either order
]


def masked(text):
    """Replaces what differs from one run to the next."""
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text, flags=re.M)
    return text.strip()


def compile_example(source, target, *words, cc="gcc"):
    command = [cc, "-std=c17", "-O2", "-pthread", *words, str(source), "-o", str(target), "-lrt"]
    return subprocess.run(command, capture_output=True, text=True)


def observer():
    """Returns the observer of shared memory as one file."""
    subprocess.run(["make", "-s", "build/shmls"], cwd=labs.ROOT, stdin=subprocess.DEVNULL, check=True)
    return labs.ROOT / "build" / "shmls"


def transcript(recipe, directory):
    """Runs the lines of a recipe in a box. Returns the commands with their output, as in a terminal."""
    lines = recipe.read_text().splitlines()
    script = "exec 2>&1\n" + "".join(f"printf '%s\\n' {shlex.quote('$ ' + line)}\n{line}\n" for line in lines)
    with box.Box("namespaces") as inside:
        for program in PROGRAMS:
            built = directory / program.stem
            if not built.exists():
                assert compile_example(program, built).returncode == 0
            inside.put(program.stem, built.read_bytes(), 0o755)
        inside.put("shmls", observer().read_bytes(), 0o755)
        shell = inside.start(["/bin/sh", "-c", script])
        assert inside.wait(shell, 10), f"{recipe.name} did not end"
        return bytes(shell.output[1]).decode()


def verdict(name, directory):
    """Returns what `make check` prints about one check, for a skeleton or for a known mistake."""
    lab, mistake, check = VERDICTS[name]
    submission = labs.LABS
    if mistake:
        submission = next(m for m in gallery.mistakes() if str(m) == f"{lab}/{mistake}").apply(directory)
    command = running.pytest_command("harness", "--lab", lab, "--submission", str(submission), "-k", check,
                                     "--tier", "namespaces")
    done = subprocess.run(command, cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return re.sub(r" IN=[^`]+", "", done.stdout.replace(str(submission), "labs").replace(str(labs.ROOT) + "/", ""))


def picture(name):
    """Returns what `make trace TEXT=1` prints about a lab's solution, without the last lines."""
    command = [sys.executable, "-m", "shmlab", "trace", "--lab", TRACES[name], "--in", str(labs.SOLUTIONS), "--text"]
    done = subprocess.run(command, cwd=labs.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(labs.ROOT / "harness")})
    return done.stdout.rpartition("\n\n")[0] + "\n" + done.stderr


def main():
    with tempfile.TemporaryDirectory() as directory:
        for recipe in RECIPES:
            recipe.with_suffix(".out").write_text(transcript(recipe, Path(directory)))
        for name in VERDICTS:
            (EXAMPLES / f"{name}.out").write_text(verdict(name, Path(directory)))
        for name in TRACES:
            (EXAMPLES / f"{name}.out").write_text(picture(name))


if __name__ == "__main__":
    main()

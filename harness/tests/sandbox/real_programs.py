"""`make test-real`: well-known programs do the same with the recorder preloaded as without it.

Each runs twice on this machine itself, once plainly and once recorded, as an ordinary user: PostgreSQL does not start as root.
"""
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from shmlab.sandbox import calls, kernel, native

PYTHON = """
from multiprocessing import Lock, Process, shared_memory
def add(name, lock):
    part = shared_memory.SharedMemory(name)
    for _ in range(500):
        with lock:
            part.buf[:4] = (int.from_bytes(part.buf[:4], 'little') + 1).to_bytes(4, 'little')
    part.close()
if __name__ == '__main__':
    made, lock = shared_memory.SharedMemory(create=True, size=10000), Lock()
    workers = [Process(target=add, args=(made.name, lock)) for _ in range(3)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    print(int.from_bytes(made.buf[:4], 'little'), made.size)
    made.close()
    made.unlink()
"""

STRESSED = ["sem", "sem-sysv", "shm", "shm-sysv", "memfd", "futex", "flock", "fork", "vfork", "msync", "mremap", "mutex"]


class Recorded:
    """Runs commands as an ordinary user in a directory of their own, plainly or with the recorder."""

    def __init__(self, directory, recorded, capacity=1 << 16):
        self.directory = directory
        directory.chmod(0o755)
        self.user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        self.home = directory / "home"
        self.home.mkdir(0o700)
        if self.user:
            os.chown(self.home, self.user.pw_uid, self.user.pw_gid)
        fd = os.open(directory, os.O_RDONLY)
        self.ring = calls.Ring(fd, capacity=capacity)
        os.close(fd)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C"}
        if recorded:
            shutil.copy(native.spy_preload(), directory / "spy.so")
            (directory / "spy.so").chmod(0o755)
            self.recorder = {"LD_PRELOAD": str(directory / "spy.so"), "SHMLAB_RING": str(directory / "ring")}
        else:
            self.recorder = {}

    def run(self, *words, plainly=False, timeout=120):
        environment = self.environment if plainly else {**self.environment, **self.recorder}
        return subprocess.run([str(word) for word in words], cwd=self.home, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              **({"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}))

    def names(self):
        return {call.name for call in self.ring.read()[0]}


@pytest.fixture(params=["plain", "recorded"])
def runner(request):
    with tempfile.TemporaryDirectory(prefix="shmlab-real-") as name:
        runner = Recorded(Path(name), request.param == "recorded")
        before = machine()
        yield runner
        runner.ring.close()
        assert machine() == before, "what the program made, it has removed"


def machine():
    """The System V segments and semaphores of this machine, and its POSIX objects."""
    return ([segment.shmid for segment in kernel.parse_segments(Path("/proc/sysvipc/shm").read_bytes())],
            Path("/proc/sysvipc/sem").read_text(), sorted(path.name for path in Path("/dev/shm").iterdir()))


def test_python_shared_memory(runner):
    script = runner.directory / "script.py"
    script.write_text(PYTHON)
    done = runner.run(sys.executable, "-S", script)
    # Newer versions round the size up to whole pages.
    assert done.returncode == 0 and done.stdout in ("1500 12288\n", "1500 10000\n"), done.stdout
    if runner.recorder:
        assert {"shm_open", "ftruncate", "mmap", "shm_unlink", "sem_open", "sem_unlink", "fork"} <= runner.names()
        calls_of_locks = [call for call in runner.ring.read()[0] if call.name in ("sem_wait", "sem_trywait", "sem_post")]
        shared = {call.result for call in runner.ring.read()[0] if call.name == "sem_open" and not call.failed}
        assert sum(call.name == "sem_post" for call in calls_of_locks if call.arguments[0] in shared) >= 1500


@pytest.mark.parametrize("kind", STRESSED)
def test_stress_ng(runner, kind):
    done = runner.run("stress-ng", f"--{kind}", "2", f"--{kind}-ops", "20", "--timeout", "3", "--verify", "--oomable")
    assert done.returncode == 0 and "successful run completed" in done.stdout, done.stdout


def test_redis(runner):
    """A snapshot is written by a child that fork() has made."""
    sock = runner.home / "redis.sock"
    started = runner.run("redis-server", "--port", "0", "--unixsocket", sock, "--daemonize", "yes", "--dir", runner.home,
                         "--logfile", runner.home / "log", "--save", "")
    assert started.returncode == 0

    def ask(*words):
        return runner.run("redis-cli", "-s", sock, *words, plainly=True).stdout.strip()

    wait_until(lambda: ask("PING") == "PONG")
    runner.run("redis-benchmark", "-s", sock, "-n", "2000", "-t", "set,lpush", "-q", plainly=True)
    assert ask("SET", "key", "value") == "OK" and ask("BGSAVE") == "Background saving started"
    wait_until(lambda: "rdb_bgsave_in_progress:0" in ask("INFO", "persistence"))
    assert "rdb_last_bgsave_status:ok" in ask("INFO", "persistence") and ask("GET", "key") == "value"
    ask("SHUTDOWN", "NOSAVE")
    wait_until(lambda: not sock.exists())
    assert not runner.recorder or "fork" in runner.names()


@pytest.mark.parametrize("memory", ["mmap", "sysv"])
@pytest.mark.parametrize("dynamic", ["posix", "sysv", "mmap"])
def test_postgresql(runner, memory, dynamic):
    """Its main shared memory and that of parallel queries are of each kind in turn."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    data = runner.home / "data"
    made = runner.run(programs / "initdb", "-D", data, "-A", "trust", "-U", "me", "--no-sync", plainly=True)
    assert made.returncode == 0, made.stdout
    settings = {"listen_addresses": "''", "unix_socket_directories": f"'{runner.home}'", "shared_memory_type": memory, "fsync": "off",
                "dynamic_shared_memory_type": dynamic, "min_parallel_table_scan_size": 0, "parallel_setup_cost": 0,
                "parallel_tuple_cost": 0, "shared_buffers": "16MB"}
    with open(data / "postgresql.conf", "a", encoding="ascii") as file:
        file.writelines(f"{name} = {value}\n" for name, value in settings.items())
    # The server's own output must not keep our pipe open.
    started = runner.run(programs / "pg_ctl", "-D", data, "-l", runner.home / "log", "-w", "start")
    log = (runner.home / "log")
    assert started.returncode == 0, log.read_text() if log.exists() else started.stdout

    def ask(query):
        return runner.run(programs / "psql", "-h", runner.home, "-U", "me", "-d", "postgres", "-Atc", query, plainly=True).stdout.strip()

    ask("create table numbers as select generate_series(1, 200000) as n; analyze numbers")
    assert "Workers Launched: 2" in ask("explain (analyze) select sum(n) from numbers")
    assert ask("select sum(n::bigint) from numbers") == "20000100000"
    loaded = runner.run(programs / "pgbench", "-h", runner.home, "-U", "me", "-i", "-q", "postgres", plainly=True)
    assert loaded.returncode == 0, loaded.stdout
    benched = runner.run(programs / "pgbench", "-h", runner.home, "-U", "me", "-c", "4", "-t", "50", "postgres", plainly=True)
    assert "number of failed transactions: 0" in benched.stdout, benched.stdout
    stopped = runner.run(programs / "pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
    assert stopped.returncode == 0, log.read_text()
    assert "was terminated by signal" not in log.read_text()
    if runner.recorder:
        kinds = {"posix": {"shm_open", "shm_unlink"}, "sysv": {"shmget", "shmat", "shmdt", "shmctl"}, "mmap": {"mmap"}}
        # The server takes a small segment as a lock on its directory, whatever the rest of its memory is.
        assert {"fork", "shmget"} | kinds[memory] | kinds[dynamic] <= runner.names()


def wait_until(holds, seconds=30):
    """What another machine's server does cannot be waited for but by asking again."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)

"""A root of machines.py with a kernel of its own: a guest of QEMU, which emulates its processor.

The root gets the distribution's kernel. A copy of it is the disk of the guest, in which a script is the first process: it
runs the commands and writes what they print to the serial line. Nothing in the guest can reach the network.
"""
from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, Sequence, Tuple

BOOT_SECONDS = 600
PACKAGES = "initramfs-tools kmod mount"  # with a kernel

INIT = r"""#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777,size=256m shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
mount -t securityfs securityfs /sys/kernel/security
mount -o remount,rw /
mount -t cgroup2 cgroup /sys/fs/cgroup && for controller in cpu memory pids; do
    echo +$controller > /sys/fs/cgroup/cgroup.subtree_control
done
for link in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do ln -sfn "${link#*:}" "/dev/${link%%:*}"; done
[ ! -x /usr/sbin/apparmor_parser ] || apparmor_parser --replace --write-cache /etc/apparmor.d 2>/dev/null
delegate() { # as systemd does for a scope: a group that is its user's own, and marked so
    group=$(mktemp -d /sys/fs/cgroup/scope-XXXX)
    chown "$1" "$group" "$group"/cgroup.{procs,subtree_control,threads}
    python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.delegate", b"1")' "$group"
    echo "$BASHPID" > "$group/cgroup.procs"
}
echo "@@ booted $(uname -r)"
. /guest-commands
echo "@@ end"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def _kernel(root: Path) -> Tuple[Path, Path]:
    """The newest kernel in a root, and its initial file system."""
    kernel = max((root / "boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return kernel, kernel.with_name(kernel.name.replace("vmlinuz", "initrd.img"))


def run(root: Path, directory: str, commands: Sequence[Tuple[str, str, str]], seconds: float,
        note: Callable[[str], None]) -> Dict[str, Tuple[int, str, float]]:
    """Runs commands in a guest: each has a name, a user and words for the shell. Gives status, output and seconds by name.

    What is missing in the answer was not run, or did not end in time.
    """
    lines = []
    for name, who, shell in commands:
        home = "/root" if who == "root" else f"/home/{who}"
        words = ["env", f"HOME={home}", "bash", "-c", f"cd {directory} && {shell}"]
        if who != "root":
            words = ["setpriv", f"--reuid={who}", f"--regid={who}", "--init-groups", *words]
        where = "" if who == "root" else f"delegate {who}; "
        lines += [f"began=$(cut -d' ' -f1 /proc/uptime); ({where}exec {shlex.join(words)}) > /tmp/output 2>&1 < /dev/null; status=$?",
                  f"echo '@@ output {name}'; cat /tmp/output; echo; echo \"@@ status $status $began $(cut -d' ' -f1 /proc/uptime)\""]
    for path, text in ("guest-init", INIT), ("guest-commands", "\n".join(lines) + "\n"):
        (root / path).write_text(text, encoding="utf-8")
        (root / path).chmod(0o755)
    kernel, initial = _kernel(root)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="guest-") as scratch:
        image, log = Path(scratch, "disk"), Path(scratch, "serial")
        subprocess.run(["mkfs.ext4", "-q", "-d", str(root), str(image), "4G"], check=True)
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-m", "2048", "-smp", "2", "-nographic",
                   "-no-reboot", "-nodefaults", "-net", "none", "-serial", f"file:{log}", "-kernel", str(kernel), "-initrd", str(initial),
                   "-drive", f"file={image},format=raw,if=virtio,cache=unsafe", "-append",
                   "console=ttyS0 root=/dev/vda rw init=/guest-init quiet panic=1 mitigations=off no_timer_check"]
        log.touch()
        guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end, told = time.monotonic() + BOOT_SECONDS + seconds, 0
        try:
            while guest.poll() is None and time.monotonic() < end:
                time.sleep(1)
                headlines = re.findall(r"^@@ (booted.*|output.*)$", log.read_text(errors="replace"), re.M)
                for line in headlines[told:]:
                    note(line.strip())
                told = len(headlines)
        finally:
            guest.kill()
            guest.wait()
        text = log.read_text(errors="replace").replace("\r", "")
        if os.environ.get("KEEP_SERIAL"):
            Path(os.environ["KEEP_SERIAL"]).write_text(text)
    found = re.findall(r"^@@ output (.*)\n([\s\S]*?)\n@@ status (\d+) ([\d.]+) ([\d.]+)$", text, re.M)
    return {name: (int(status), output, float(after) - float(before)) for name, output, status, before, after in found}

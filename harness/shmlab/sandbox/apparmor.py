"""The box where AppArmor restricts user namespaces, as on Ubuntu 24.04: a copy of it at a fixed path, and a profile.

An ordinary program that makes a user namespace has no capability in it there. A profile with the rule `userns,` exempts
the program at one path. So `sudo make box` copies the box to a path that only root can write to, and loads a profile
for it. The box gives its programs no capability, and no further user namespace.
"""
from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Optional

from ..labs import UserError
from . import native

RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
INSTALLED = Path("/usr/local/lib/shmlab/box")
PROFILE = Path("/etc/apparmor.d/shmlab-box")
PROFILE_TEXT = f"""# The box of the Shared Memory Lab may make user namespaces. `sudo make unbox` removes this file.
abi <abi/4.0>,
include <tunables/global>

profile shmlab-box {INSTALLED} flags=(unconfined) {{
  userns,
}}
"""


def is_restricted() -> bool:
    """Whether AppArmor restricts user namespaces on this machine."""
    try:
        return RESTRICTED.read_text().strip() == "1"
    except OSError:
        return False


def is_static(program: bytes) -> bool:
    """Whether an ELF program needs no dynamic linker, which the environment of its user could misdirect."""
    offset, = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return all(struct.unpack_from("<I", program, offset + number * size) != (3,) for number in range(count))  # PT_INTERP


def _parser(*words: str) -> None:
    """Runs apparmor_parser. An error is the user's."""
    program = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
    if not program:
        raise UserError("there is no apparmor_parser: install the package apparmor")
    done = subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"apparmor_parser: {((done.stderr or done.stdout).strip().splitlines() or ['?'])[0]}")


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise UserError(f"this takes root: sudo make {command}")


def _give_back() -> None:
    """What root has built belongs to the person who typed sudo: else they could not build there any more."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    build = native.build_directory()
    for path in [build, build / "native", *(build / "native").rglob("*")] if user.isdigit() and group.isdigit() else []:
        os.lchown(path, int(user), int(group))


def install() -> None:
    """Installs the box and its profile. Changes nothing where AppArmor does not restrict it."""
    _require_root("box")
    if not is_restricted():
        print("AppArmor does not restrict user namespaces on this machine: there is nothing to install")
        return
    program = native.build_box()
    _give_back()
    content = program.read_bytes()
    if not is_static(content):
        raise UserError("the box is not linked statically: install the C library's static version (package libc6-dev)")
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    INSTALLED.parent.chmod(0o755)
    scratch = INSTALLED.with_name(".box")
    scratch.write_bytes(content)
    scratch.chmod(0o755)
    os.replace(scratch, INSTALLED)
    PROFILE.write_text(PROFILE_TEXT)
    _parser("--replace", str(PROFILE))
    print(f"installed {INSTALLED} and {PROFILE}")


def remove() -> None:
    """Removes what install() has made."""
    _require_root("unbox")
    if not PROFILE.exists() and not INSTALLED.exists():
        print("the box is not installed")
        return
    if PROFILE.exists():
        if is_restricted():
            _parser("--remove", str(PROFILE))
        PROFILE.unlink()
    if INSTALLED.exists():
        INSTALLED.unlink()
        INSTALLED.parent.rmdir()
    print(f"removed {INSTALLED} and {PROFILE}")


def remedy() -> Optional[str]:
    """What to do where AppArmor keeps namespaces from the box; None if it does not."""
    if not is_restricted() or native.box_program() == INSTALLED:
        return None
    if INSTALLED.exists():
        return f"{INSTALLED} is of another version of the lab: `sudo make box` replaces it"
    return ("AppArmor restricts user namespaces on this machine (kernel.apparmor_restrict_unprivileged_userns): `sudo make box` "
            "installs the box with a profile that permits them, `sudo make unbox` removes it")

"""Executes a command as on another machine: python3 imitation.py WHAT,... COMMAND [ARGUMENT]...

`docker`: with the capabilities and the system calls that Docker's defaults leave. `no-landlock`: a kernel without Landlock.
"""
import ctypes
import errno
import os
import platform
import struct
import sys

# Docker's default capabilities: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE,
# NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP
CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*

# clone, and what Docker refuses: unshare, mount, umount2, setns, pivot_root
NUMBERS = {"x86_64": (56, (272, 165, 166, 308, 155)), "aarch64": (220, (97, 40, 39, 268, 41)),
           "riscv64": (220, (97, 40, 39, 268, 41))}
CLONE3, LANDLOCK_CREATE_RULESET = 435, 444

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x50000
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def refuse(number, error):
    """Lines of a filter: this system call fails."""
    return [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL + error)]


def filter_of(what):
    clone, refused = NUMBERS[platform.machine()]
    lines = [(LOAD, 0, 0, NUMBER)]
    if "no-landlock" in what:
        lines += refuse(LANDLOCK_CREATE_RULESET, errno.ENOSYS)
    if "docker" in what:
        lines += [line for number in refused for line in refuse(number, errno.EPERM)] + refuse(CLONE3, errno.ENOSYS)
        lines += [(EQUAL, 0, 3, clone), (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 0, 1, NEW_NAMESPACES),
                  (RETURN, 0, 0, FAIL + errno.EPERM)]
    return lines + [(RETURN, 0, 0, ALLOW)]


def main():
    what, command = sys.argv[1].split(","), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if "docker" in what:
        for capability in range(64):
            if capability not in CAPABILITIES:
                libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: exec takes it away
    lines = filter_of(what)
    code = Filter(len(lines), b"".join(struct.pack("HBBI", *line) for line in lines))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(code), 0, 0) == 0  # no_new_privs, seccomp
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()

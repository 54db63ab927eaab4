"""Turns itself into a supervised program: lower rights, die with the supervisor, then exec.

Run by path with `python -I -S launch.py SETTINGS PROGRAM ARGUMENT...`, so it imports nothing but
the standard library and is gone 20 ms later. It exists because code between fork and exec of a
process with threads (`preexec_fn`) may deadlock.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522
OPEN_FILES_MAX = 65_536

libc = ctypes.CDLL(None, use_errno=True)


def main(settings: dict[str, Any], argv: list[str]) -> None:
    """Apply `settings` (parent, death_signal, uid, gid, search, nice) and become `argv`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if settings["nice"]:
        yield_cpu(settings["nice"])
    if settings["uid"] is not None:
        become(settings["uid"], settings["gid"], settings["search"])
    # After the change of user, which clears it; the kernel sends it when the thread that
    # started us ends, and exec keeps it.
    check(libc.prctl(PR_SET_PDEATHSIG, settings["death_signal"], 0, 0, 0))
    if os.getppid() != settings["parent"]:
        sys.exit("the supervisor ended before its child began")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


def yield_cpu(nice: int) -> None:
    """Add to the niceness: of the process, and of its session, which Linux may schedule as one."""
    os.nice(nice)
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(nice))
    except OSError:
        pass  # this kernel groups no sessions, or refuses: the process's own niceness counts


def become(uid: int, gid: int, search: bool) -> None:
    """Be this user and group, with no rights of root left but, on request, that of walking
    through directories closed to the user (an ambient capability, so it survives exec)."""
    held = permitted()
    check(libc.prctl(PR_SET_KEEPCAPS, int(search), 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if search:
        # Containers usually lack the first, narrower one.
        narrow = held >> CAP_DAC_READ_SEARCH & 1
        keep(CAP_DAC_READ_SEARCH if narrow else CAP_DAC_OVERRIDE)


def permitted() -> int:
    """The bit set of capabilities this process may use."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))


def keep(capability: int) -> None:
    """Reduce this thread's capabilities to one, which programs it becomes inherit."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    check(libc.capset(header, (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)))
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])

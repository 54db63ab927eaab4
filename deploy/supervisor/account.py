"""The unprivileged user for servers that refuse to run as root."""

import os
import pwd
import stat
from pathlib import Path

from tidemill.deploy.supervisor.child import Account

UNPRIVILEGED = "nobody"  # every Linux has it; nothing on the machine needs to be created


def account_for(*paths: Path) -> Account | None:
    """Who shall run a server that uses these paths: None (ourselves) unless we are root.

    The account keeps the right to search directories only when one above `paths` is closed to it
    (a checkout under /root), because opening those to all would change the machine.
    Raises KeyError when the machine has no user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(UNPRIVILEGED)
    closed = any(not _open_to_all(parent) for path in paths for parent in _above(path))
    return Account(uid=user.pw_uid, gid=user.pw_gid, search=closed)


def _above(path: Path) -> tuple[Path, ...]:
    resolved = path.resolve()
    return (*resolved.parents, *path.absolute().parents)


def _open_to_all(directory: Path) -> bool:
    return not directory.exists() or bool(directory.stat().st_mode & stat.S_IXOTH)

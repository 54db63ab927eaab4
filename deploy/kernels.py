"""Where compiled kernels are kept: by code hash, so that no kernel outlives a callee's change.

numba notices when a kernel's own file changes, not when a kernel of another file that it calls
does; a cache of its own for each code hash makes a stale one impossible.
"""

import os
from pathlib import Path

from tidemill.streams.runtime.code_hash import code_hash


def keep_kernels() -> None:
    """Set numba's cache directory for this process and its children; call before numba loads."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(home / "tidemill" / f"kernels-{code_hash()}"))

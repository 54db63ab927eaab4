"""Write the generated documents where they are committed: ``python -m tidemill.streams.documents``.

With ``--check`` nothing is written; the exit status is 1 when one is not current.
"""

import sys
from pathlib import Path

from tidemill.streams.documents.files import texts

ROOT = Path(__file__).resolve().parents[2]


def main(root: Path, check: bool) -> int:
    """Write, or check, every document below `root`; return the exit status."""
    stale = [
        path
        for path, text in texts().items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path} is not current" if check else f"wrote {path}", file=sys.stderr)
        if not check:
            (root / path).write_text(texts()[path], encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(ROOT, "--check" in sys.argv[1:]))

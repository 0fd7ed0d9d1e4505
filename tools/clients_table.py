"""Write the tables of docs/clients.md anew: every client package is asked every case, through the proxy.

Needs what the tests need (requirements/dev.lock), node and npm. Run from the repository:

    .venv-dev/bin/python tools/clients_table.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sdk import npm, table
from tests.sdk.survey import survey


def main() -> None:
    """Ask and write, or say why not."""
    if missing := npm.missing():
        sys.exit(f"clients_table: not without the rows of Node: {missing}")
    with tempfile.TemporaryDirectory() as folder:
        table.write(survey(Path(folder), node=True))


if __name__ == "__main__":
    main()

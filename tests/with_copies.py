"""`python -m tests.with_copies ARGS`: the program, which takes the tests' copies for the shipped policies."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from proxy.cli import init
from proxy.cli.arguments import main
from tests.policies import as_shipped

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        init.SHIPPED = as_shipped(Path(folder) / "policies")  # type: ignore[attr-defined]  # the name that it reads
        code = main(sys.argv[1:])
    sys.exit(code)

"""What uvicorn lacks without our protocol class: `python -m tests.stock_uvicorn`.

Runs the front's tests on stock uvicorn and prints those that fail. Nothing is judged: each failure is a reason why
`proxy.server.http.connection` is there. A list that gets shorter after an upgrade of uvicorn is work that we can drop.
"""

from __future__ import annotations

import re
import subprocess
import sys

PATHS = ("tests/server/http", "tests/server/routing/test_edge.py", "tests/server/test_stopping.py")
SECONDS = 900


def main() -> None:
    """Run them and print the list."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--tb=no", "--timeout=5", "--stock-uvicorn", *PATHS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)))
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-500:]]
    print(f"stock uvicorn: {last[0].strip('= ')}; it lacks what these ask for:")
    print("".join(f"  {name}\n" for name in failed), end="")


if __name__ == "__main__":
    main()

"""What every measurement of the benchmarks needs: starting programs, taking times, and the table.

The command line names the release build: PATH-TO-AGENT PATH-TO-AGENT-BENCH.
"""
import json
import os
import statistics
import socket
import subprocess
import sys
import time

AGENT, BENCH = (os.path.abspath(path) for path in sys.argv[1:3])
CLEAN = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "USER")}
GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]


def run(command, **keywords):
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keywords)


def wall(command, count, **keywords):
    """Median wall time in milliseconds of a whole process."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        run(command, **keywords)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def inside(environment, measurement, *numbers):
    """What agent-bench measures inside its own process."""
    command = [BENCH, measurement, *map(str, numbers)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"agent-bench {measurement}: {result.stderr}")
    return json.loads(result.stdout)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def wait_until(condition, limit=30, what="what was measured"):
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not happen within {limit} s")
        time.sleep(0.001)


rows = []


def row(what, target, figure, floor, ratio, met=None):
    """Adds a line to the table; without `met` it has no target."""
    rows.append((what, target, figure, floor, ratio, {True: "yes", False: "**no**", None: "–"}[met]))
    print("measured:", what, figure, file=sys.stderr)


def table():
    lines = [("what", "target", "figure", "floor in the same run", "ratio", "met"), ("---",) * 6, *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines).replace(" --- ", "---")

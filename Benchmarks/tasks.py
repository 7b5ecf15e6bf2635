"""One-time tasks: what looking at them costs when all are done, and many machines that start at once with some to do."""
import json
import sqlite3
import statistics
import subprocess
import time

from cluster import Cluster
from measuring import AGENT, CLEAN, GIT, inside, row, run, wall


def main(root):
    with Cluster() as cluster:
        for count, limits in ((1000, (10, 20)), (10_000, (100, 100))):
            workspace = made(root, count)
            looks(workspace, count, root, None, limits[0])
            looks(workspace, count, root, cluster, limits[1])
        at_once(root, cluster)


def made(root, count):
    """A repository whose file has so many tasks."""
    workspace = root / f"tasks-{count}"
    run([*GIT, "init", "-q", "-b", "main", str(workspace)])
    entries = [
        f"  - id: backfill-column-{number}-v1\n    name: Fill column {number} of match_analysis\n"
        f"    run: psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -1 -f migrations/{number:04}_fill.sql\n    timeout: 120\n"
        for number in range(count)]
    (workspace / "deploy.yaml").write_text("tasks:\n" + "".join(entries))
    (workspace / "none.yaml").write_text("")
    run([*GIT, "add", "-A"], cwd=workspace)
    run([*GIT, "commit", "-q", "-m", "tasks"], cwd=workspace)
    return workspace


def looks(workspace, count, root, cluster, limit):
    """With every task done, as one after the other would have left them."""
    name = "PostgreSQL" if cluster else "SQLite"
    state = root / f"state-tasks-{count}-{name}"
    schema = f"tasks_{count}"
    environment = dict(CLEAN, WORKSPACE_PATH=str(workspace), AGENT_STATE_DIR=str(state), AGENT_LOG_LEVEL="error", AGENT_APP="shop")
    if cluster:
        environment |= {"AGENT_LEDGER_URL": cluster.url, "AGENT_LEDGER_SCHEMA": schema}
    # Makes the tables, and tells the hashes.
    marked = subprocess.run(
        [AGENT, "tasks", "done", "backfill-column-0-v1"], env=environment, check=True, capture_output=True)
    assert marked.returncode == 0
    listed = json.loads(subprocess.run([AGENT, "tasks", "--json"], env=environment, check=True, capture_output=True).stdout)
    done = [(task["id"], task["entry_hash"]) for task in listed if task["status"] == "pending"]
    assert len(done) == count - 1
    if cluster:
        rows = ",".join(f"('{task}', '{digest}')" for task, digest in done)
        cluster.sql(
            f"""
            CREATE TEMPORARY TABLE fresh (id TEXT, digest TEXT); INSERT INTO fresh VALUES {rows};
            INSERT INTO deploy_tasks SELECT id, now(), 'success' FROM fresh;
            INSERT INTO outcomes (app, name, commit_id, run, fence, status, attempts, digest)
            SELECT 'shop', 'task:' || id, '', 0, 1, 'succeeded', 1, digest FROM fresh;
            ANALYZE deploy_tasks; ANALYZE outcomes;
            """, schema)
    else:
        with sqlite3.connect(state / "ledger.sqlite") as ledger:
            ledger.executemany("INSERT INTO deploy_tasks VALUES (?, '2026-01-01T00:00:00Z', 'success')", [(task,) for task, _ in done])
            ledger.executemany(
                "INSERT INTO outcomes (app, name, commit_id, run, fence, status, attempts, digest) "
                "VALUES ('shop', 'task:' || ?, '', 0, 1, 'succeeded', 1, ?)", done)
        ledger.close()
    once = subprocess.run([AGENT, "run-once", "--json"], env=environment, check=True, capture_output=True)
    assert json.loads(once.stdout)["tasks"] == {"ran": 0, "skipped": count, "failed": 0, "error": None}
    figures = [inside(environment, "tasks", 15) for _ in range(3)]
    figure = statistics.median(f["look_ms"] - f["plain_ms"] for f in figures)
    plain = statistics.median(f["plain_ms"] for f in figures)
    row(f"{count:,} tasks in the file, all done, {name}: the look at them", f"≤ {limit} ms", f"{figure:.1f} ms",
        f"{plain:.1f} ms (the check without)", "–", figure <= limit)
    with_tasks, without = [], []
    for _ in range(5):
        with_tasks.append(wall([AGENT, "run-once"], 3, env=environment))
        without.append(wall([AGENT, "run-once"], 3, env=dict(environment, AGENT_DEPLOY_FILE="none.yaml")))
    first = statistics.median(with_tasks) - statistics.median(without)
    row("the same in a process that has not read the file before (run-once), decoding included", f"≤ {limit} ms",
        f"{first:.1f} ms", f"{statistics.median(without):.1f} ms (run-once without)", "–", first <= limit)


def at_once(root, cluster):
    """20 machines that start at once with 10 tasks."""
    workspace, trace = root / "tasks-fleet", root / "tasks-trace"
    run([*GIT, "init", "-q", "-b", "main", str(workspace)])
    (workspace / "deploy.yaml").write_text(
        "tasks:\n" + "".join(f"  - id: t{number}\n    run: echo t{number} >> {trace}\n" for number in range(10)))
    run([*GIT, "add", "-A"], cwd=workspace)
    run([*GIT, "commit", "-q", "-m", "tasks"], cwd=workspace)
    upstream = root / "tasks-fleet.git"
    run([*GIT, "clone", "-q", "--bare", str(workspace), str(upstream)])
    times = []
    for turn in range(3):
        trace.unlink(missing_ok=True)
        begin = time.monotonic()
        programs = [
            subprocess.Popen(
                [AGENT, "run-once"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=dict(
                    CLEAN, WORKSPACE_PATH=str(root / f"fleet-{turn}-{host}/ws"), AGENT_STATE_DIR=str(root / f"fleet-{turn}-{host}/state"),
                    AGENT_APP="shop", AGENT_HOST=f"h{host}", AGENT_LEDGER_URL=cluster.url,
                    AGENT_LEDGER_SCHEMA=f"tasks_fleet_{turn}", GITHUB_REPO_URL=f"file://{upstream}"))
            for host in range(20)]
        assert [program.wait(timeout=120) for program in programs] == [0] * 20
        times.append(time.monotonic() - begin)
        ran = sorted(trace.read_text().split())
        assert ran == [f"t{number}" for number in range(10)], ran
    row("20 machines at once with 10 tasks: how often each runs", "1", "1", "–", "–", True)
    row("the same until all 20 have deployed, all on this machine, median of 3", "–", f"{statistics.median(times):.1f} s", "–", "–")

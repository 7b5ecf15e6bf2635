"""Figures of a record that many hosts share, on a PostgreSQL of the benchmarks' own."""
import datetime
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import time

from cluster import Cluster
from measuring import AGENT, CLEAN, GIT, inside, row, run, wait_until, wall

SCRIPTS = pathlib.Path(__file__).parent


def main(root):
    upstream = root / "up.git"
    run([*GIT, "init", "-q", "-b", "main", str(root / "dev")])
    run([*GIT, "commit", "-q", "--allow-empty", "-m", "first"], cwd=root / "dev")
    run([*GIT, "clone", "-q", "--bare", str(root / "dev"), str(upstream)])
    with Cluster() as cluster:
        claims(cluster)
        checks(cluster)
        with Agents(cluster, root, upstream) as agents:
            takeover(agents)
        with Agents(cluster, root, upstream) as agents:
            going_on(agents)
        history(cluster)


def prepared(cluster, schema):
    """Makes a schema's tables, and returns what agent-bench is started with for it."""
    environment = dict(CLEAN, AGENT_LEDGER_URL=cluster.url, AGENT_LEDGER_SCHEMA=schema)
    inside(environment, "fleet-prepare")
    return environment


# Claims


def claims(cluster):
    """The rate of claims with their completions, beside the same statements through pgbench, in turn."""
    environment, seconds = prepared(cluster, "claims"), 3
    first = 1
    for clients in (1, 8):
        figures, floors = [], []
        for _ in range(5):
            for rates in (floors, figures):
                count = clients * 10_000
                cluster.sql(
                    f"""
                    INSERT INTO deployments (id, app, host, workspace, commit_id, subject, author, trigger_name, attempt,
                        series, status, started_at)
                    SELECT id, 'claims', 'h1', '/srv/shop', id, '', '', 'poll', 1, id, 'running', now()
                    FROM generate_series({first}, {first + count - 1}) AS id;
                    ANALYZE deployments; ANALYZE runs; ANALYZE outcomes; CHECKPOINT;
                    """, "claims")
                if rates is figures:
                    rates.append(inside(environment, "fleet-claims", seconds, clients, first)["pairs_per_s"])
                else:
                    printed = cluster.pgbench(
                        "public", "-f", SCRIPTS / "claims.sql", "-M", "simple", "-c", clients, "-j", min(clients, 2),
                        "-T", seconds, "-D", f"first={first}", "-D", "made=0")
                    rates.append(float(re.search(r"tps = ([0-9.]+)", printed)[1]))
                first += count
        ratios = [figure / floor for figure, floor in zip(figures, floors)]
        ratio = statistics.median(ratios)
        row(f"claim and complete through the ledger, {clients} at once", "≥ 0.5 × pgbench",
            f"{statistics.median(figures):.0f}/s", f"{statistics.median(floors):.0f}/s",
            f"{ratio:.2f} × ({min(ratios):.2f} to {max(ratios):.2f})", ratio >= 0.5)


# Checks


def checks(cluster):
    """The connections that 1,000 agents need that check once a minute."""
    agents = 1000
    environment = prepared(cluster, "checks")
    cluster.sql(
        f"""
        INSERT INTO deployments (app, host, workspace, commit_id, subject, author, trigger_name, attempt, series, status,
            settled, published, started_at, completed_at)
        SELECT 'shop', 'h' || n, '/srv/shop', repeat('a', 40), '', '', 'poll', 1, n, 'succeeded', TRUE, TRUE, now(), now()
        FROM generate_series(0, {agents - 1}) AS n;
        ANALYZE deployments
        """, "checks")
    figures = inside(environment, "fleet-checks", agents, 70)
    row(f"{agents} agents' checks, {figures['checks_per_min']:.0f} a minute, most connections at once (median)", "≤ 20",
        f"{figures['most_connections']:.0f} ({figures['connections']:.0f})", "–", "–", figures["most_connections"] <= 20)
    row("one of these checks' time with the record, median (slowest)", "–",
        f"{figures['check_ms']:.0f} ms ({figures['slowest_ms']:.0f} ms)", "–", "–")


# Agents


class Agents:
    """Agents of several hosts, started from the release build; ended with the `with`."""

    def __init__(self, cluster, root, upstream):
        self.cluster, self.root, self.upstream = cluster, root, upstream
        self.dev, self.started = root / "dev", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.started:
            if program.poll() is None:
                program.terminate()
        for program in self.started:
            try:
                program.wait(timeout=20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

    def start(self, command, app, host, **settings):
        """Returns the process; its log is in `log`."""
        place = self.root / "agents" / app / host
        place.mkdir(parents=True, exist_ok=True)
        environment = dict(
            CLEAN, AGENT_APP=app, AGENT_HOST=host, WORKSPACE_PATH=str(place / "ws"), AGENT_STATE_DIR=str(place / "state"),
            AGENT_LEDGER_URL=self.cluster.url, AGENT_LEDGER_SCHEMA="agents", AGENT_LOG_FORMAT="json",
            GITHUB_REPO_URL=f"file://{self.upstream}", GITHUB_BRANCH="main", GITHUB_SYNC_INTERVAL="1h",
            ENABLE_DEV_HEALTH="false", HOST=host, PRE_DEPLOY_SCOPE="fleet", **settings)
        log = place / "log"
        with log.open("w") as errors:
            program = subprocess.Popen([AGENT, command], env=environment, stdout=errors, stderr=errors)
        program.log = log
        self.started.append(program)
        return program


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def takeover(agents):
    """From the holder's end by SIGKILL to the first instruction of the hook on the other host; several apps side by side."""
    count = 20
    traces = [agents.root / f"takeover-{number}" for number in range(count)]

    def start(number, host, seconds):
        hook = f'echo "$HOST $EPOCHREALTIME" >>{traces[number]}; sleep {seconds}'
        return agents.start("run", f"takeover-{number}", host, PRE_DEPLOY_COMMAND=hook)

    holders = [start(number, "h1", 600) for number in range(count)]
    for trace in traces:
        wait_until(lambda: lines(trace), 120, "the holder's hook")
    for number in range(count):
        waiting = start(number, "h2", 0)
        wait_until(lambda: '"waiting: h1 runs' in waiting.log.read_text(), 120, "the other host's wait")
    # Anywhere between two renewals.
    begin, ends = time.monotonic(), sorted(random.uniform(0, 20) for _ in holders)
    killed = []
    for holder, end in zip(holders, ends):
        time.sleep(max(0, begin + end - time.monotonic()))
        killed.append(time.time())
        os.kill(holder.pid, signal.SIGKILL)
    for trace in traces:
        wait_until(lambda: len(lines(trace)) == 2, 60, "the takeover")
    times = [float(lines(trace)[1].split()[1]) - end for trace, end in zip(traces, killed)]
    row(f"takeover after kill -9 of the holder, median (worst of {count})", "≤ 25 s",
        f"{statistics.median(times):.1f} s ({max(times):.1f} s)", "–", "–", max(times) <= 25)


def going_on(agents):
    """From the holder's success as recorded until those that wait have heard of it, and until they run what comes next."""
    hosts, rounds = 10, 10
    gate, trace = agents.root / "gate", agents.root / "went-on"
    os.mkfifo(gate)
    settings = dict(
        PRE_DEPLOY_COMMAND=f"echo runs >>{trace}-pre; read -r _ <{gate}",
        POST_DEPLOY_COMMAND=f'echo "$HOST $EPOCHREALTIME" >>{trace}')
    heard, went_on = [], []
    for number in range(rounds):
        run([*GIT, "commit", "-q", "--allow-empty", "-m", f"{number}"], cwd=agents.dev)
        run([*GIT, "push", "-q", str(agents.upstream), "HEAD:main"], cwd=agents.dev)
        trace.unlink(missing_ok=True)
        holder = agents.start("run-once", "going-on", "h0", **settings)
        wait_until(lambda: len(lines(pathlib.Path(f"{trace}-pre"))) == number + 1, 60, "the holder's hook")
        waiting = [agents.start("run-once", "going-on", f"h{host + 1}", **settings) for host in range(hosts)]
        for program in waiting:
            wait_until(lambda: '"waiting: h0 runs' in program.log.read_text(), 60, "a host's wait")
        # Long enough for every one of them to listen, and not always the same.
        time.sleep(random.uniform(2, 4))
        gate.write_text("go\n")
        for program in [holder, *waiting]:
            program.wait(timeout=60)
        success = float(agents.cluster.sql(
            "SELECT extract(epoch FROM completed_at) FROM runs WHERE fence IS NOT NULL ORDER BY id DESC LIMIT 1",
            "agents")[0][0])
        heard += [1000 * (time_of(program.log, "taken over") - success) for program in waiting]
        began = dict(line.split() for line in lines(trace))
        went_on += [1000 * (float(began[f"h{host + 1}"]) - success) for host in range(hosts)]
    # What ten programs pay that connect at once and ask one thing.
    ask = agents.root / "ask.sql"
    ask.write_text("SELECT 1;\n")
    printed = agents.cluster.pgbench("public", "-C", "-c", hosts, "-j", hosts, "-t", 20, "-f", ask)
    floor = float(re.search(r"latency average = ([0-9.]+)", printed)[1])
    figure, worst = statistics.median(heard), max(heard)
    row(f"from the holder's success until {hosts} waiting hosts go on, median (worst of {len(heard)})", "≤ 100 ms (≤ 1 s)",
        f"{figure:.0f} ms ({worst:.0f} ms)", f"{floor:.0f} ms ({hosts} connect and ask)", f"{figure / floor:.1f} ×",
        figure <= 100 and worst <= 1000)
    figure, worst = statistics.median(went_on), max(went_on)
    row(f"the same until they have published and run POST_DEPLOY, all on this machine, median (worst of {len(went_on)})", "–",
        f"{figure:.0f} ms ({worst:.0f} ms)", "–", "–")


def time_of(log, words):
    """When an agent said something, in seconds since 1970."""
    for line in lines(log):
        if line.startswith("{") and words in line:
            return datetime.datetime.fromisoformat(json.loads(line)["time"].replace("Z", "+00:00")).timestamp()
    raise RuntimeError(f"an agent never said: {words}\n{log.read_text()}")


# Long record

PAGE = """
SELECT deployments.id, app, host, workspace, commit_id, subject, author, ref, previous_commit, trigger_name, attempt, series,
    status, settled, published, round(extract(epoch FROM retry_at) * 1000)::bigint, warnings,
    round(extract(epoch FROM started_at) * 1000)::bigint, round(extract(epoch FROM completed_at) * 1000)::bigint, error_message
FROM deployments WHERE {condition} ORDER BY id DESC LIMIT '20'::bigint;
"""
KNOWN, UNKNOWN = "a" * 12, "e" * 12
WORKSPACE, APP = "host = 'h7' AND workspace = '/srv/shop'", "app = 'shop'"
# As agent-bench names them.
PAGES = {
    "workspace": WORKSPACE,
    "workspace, commit": f"{WORKSPACE} AND commit_id >= '{KNOWN}' AND commit_id < '{KNOWN}' || 'g'",
    "workspace, unknown commit": f"{WORKSPACE} AND commit_id >= '{UNKNOWN}' AND commit_id < '{UNKNOWN}' || 'g'",
    "workspace, failed": f"{WORKSPACE} AND status = 'failed'",
    "workspace, deferred": f"{WORKSPACE} AND status = 'deferred'",
    "app": APP,
    "app, commit": f"{APP} AND commit_id >= '{KNOWN}' AND commit_id < '{KNOWN}' || 'g'",
    "app, unknown commit": f"{APP} AND commit_id >= '{UNKNOWN}' AND commit_id < '{UNKNOWN}' || 'g'",
    "app, failed": f"{APP} AND status = 'failed'",
    "app, deferred": f"{APP} AND status = 'deferred'",
    "host gone quiet": "host = 'h50' AND workspace = '/srv/shop'",
}


def history(cluster):
    """Pages of 20 of a record with 1,000,000 runs, beside the same SELECT through pgbench."""
    environment = prepared(cluster, "history")
    # 10,000 commits on 50 hosts, with two hooks each; one commit in 97 failed. The first 10,000 deployments are those of a host
    # that has had none since.
    cluster.sql(
        """
        INSERT INTO deployments (id, app, host, workspace, commit_id, subject, author, ref, trigger_name, attempt, series,
            status, settled, published, started_at, completed_at)
        SELECT n, 'shop', CASE WHEN n <= 10000 THEN 'h50' ELSE 'h' || n % 50 END, '/srv/shop',
            CASE WHEN n / 50 = 5000 THEN repeat('a', 40) ELSE md5((n / 50)::text) || substr(md5((n / 50)::text), 1, 8) END,
            'change ' || n / 50, 'Ada', 'main', 'poll', 1, n, CASE WHEN n / 50 % 97 = 0 THEN 'failed' ELSE 'succeeded' END,
            TRUE, TRUE, to_timestamp(1700000000 + n), to_timestamp(1700000001 + n)
        FROM generate_series(1, 500000) AS n;
        INSERT INTO runs (kind, name, parent_kind, parent, app, host, workspace, marker, command, folder, mode, timeout_ms,
            attempt, scope, started_at, status, exit_code, completed_at)
        SELECT 'hook', CASE n % 2 WHEN 0 THEN 'PRE_DEPLOY' ELSE 'POST_DEPLOY' END, 'deployment', deployments.id, app, host,
            workspace, 'marker ' || n, 'make', '.', 'strict', 600000, 1, 'host', to_timestamp(1700000000 + n / 2),
            'succeeded', 0, to_timestamp(1700000001 + n / 2)
        FROM generate_series(1, 1000000) AS n JOIN deployments ON deployments.id = (n + 1) / 2 ORDER BY n;
        INSERT INTO run_outputs SELECT id, 'done' FROM runs;
        ANALYZE deployments; ANALYZE runs; CHECKPOINT;
        """, "history")
    floors = {page: select(cluster, condition) for page, condition in PAGES.items()}
    figures = inside(environment, "fleet-history", 50)
    slowest = max((page for page in PAGES if page != "host gone quiet"), key=figures.get)
    shown = {"workspace": "newest", slowest: f"slowest of {len(PAGES) - 1} kinds ({slowest})",
             "host gone quiet": "newest of a host gone quiet"}
    for page, name in shown.items():
        row(f"1,000,000 runs in the ledger, `history` page, {name}", "≤ 50 ms", f"{figures[page]:.1f} ms",
            f"{floors[page]:.1f} ms (pgbench)", f"{figures[page] / floors[page]:.1f} ×", figures[page] <= 50)
    row("1,000,000 runs in the ledger, decision (for the host gone quiet)", "–",
        f"{figures['decision']:.1f} ms ({figures['decision, host gone quiet']:.1f} ms)", "–", "–")
    program = dict(environment, AGENT_HOST="h7", AGENT_APP="shop", WORKSPACE_PATH="/srv/shop", AGENT_STATE_DIR="/srv/state")
    shown = subprocess.run([AGENT, "history", "--json", "--limit", "20"], env=program, capture_output=True, check=True)
    assert len(json.loads(shown.stdout)) == 20, "agent history shows another record"
    figure = wall([AGENT, "history", "--limit", "20"], 30, env=program)
    floor = wall([cluster.programs / "psql", "-c", PAGE.format(condition=WORKSPACE)], 30,
                 env=dict(cluster.environment, PGOPTIONS="-c search_path=history"))
    row("1,000,000 runs in the ledger, `agent history`, whole process", "–", f"{figure:.1f} ms", f"{floor:.1f} ms (psql)",
        f"{figure / floor:.1f} ×")


def select(cluster, condition):
    """Median time of one SELECT in milliseconds, through pgbench."""
    script = cluster.folder / "page.sql"
    script.write_text(PAGE.format(condition=condition).strip().replace("\n", " ") + "\n")
    prefix = cluster.folder / "page"
    cluster.pgbench("history", "-f", script, "-t", 50, "-l", "--log-prefix", prefix)
    times = []
    for log in cluster.folder.glob("page.*"):
        if log != script:
            times += [int(line.split()[2]) / 1000 for line in lines(log)]
            log.unlink()
    return statistics.median(times)

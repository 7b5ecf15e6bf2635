"""What must hold of a history, read from the hooks' trace and from the record, once all is quiet.

Nothing here knows what was done to the agents, but for two things that no record can tell: which hosts were killed (what they
had not yet written down is recorded as interrupted), and which commits stayed the tip for long enough to be deployed.
"""
import collections
import dataclasses

from cluster import Cluster
from fleet import APP, Fleet
from trace import Copy, Event, Trace

FINAL = ("succeeded", "failed", "timed_out", "interrupted", "deferred", "skipped")


@dataclasses.dataclass
class Record:
    """The tables of one app."""

    deployments: list[dict]
    runs: list[dict]
    outcomes: list[dict]
    leases: list[dict]

    @staticmethod
    def read(cluster: Cluster) -> "Record":
        if not cluster.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'deploy_agent' AND tablename = 'runs'"):
            return Record([], [], [], [])
        return Record(
            cluster.rows(f"SELECT * FROM deploy_agent.deployments WHERE app = '{APP}' ORDER BY id"),
            cluster.rows(
                "SELECT runs.*, commit_id FROM deploy_agent.runs JOIN deploy_agent.deployments "
                f"ON runs.kind = 'hook' AND parent = deployments.id WHERE runs.app = '{APP}' ORDER BY runs.id"),
            cluster.rows(f"SELECT * FROM deploy_agent.outcomes WHERE app = '{APP}'"),
            cluster.rows(f"SELECT * FROM deploy_agent.leases WHERE app = '{APP}'"))


def is_quiet(cluster: Cluster, hosts: list[str], commit: str) -> str | None:
    """What is still to come before every host has settled a commit; None when nothing is."""
    names = ", ".join(f"'{host}'" for host in hosts)
    found = cluster.rows(f"""
        SELECT host || ' has deployment ' || id || ' of ' || left(commit_id, 7) || ' running' AS what
            FROM deploy_agent.deployments WHERE status = 'running'
        UNION ALL SELECT 'run ' || id || ' is running' FROM deploy_agent.runs WHERE status = 'running'
        UNION ALL SELECT host || ' has not settled ' || left('{commit}', 7) FROM unnest(ARRAY[{names}]) AS host
            WHERE NOT EXISTS (SELECT 1 FROM deploy_agent.deployments AS made WHERE made.host = host.host
                AND app = '{APP}' AND commit_id = '{commit}' AND settled)
        """)
    return "; ".join(row["what"] for row in found) or None


def check(
    fleet: Fleet, cluster: Cluster, commits: list[str], hosts: list[str], failed_for_good: set[str] = frozenset(),
) -> list[str]:
    """
    - commits: that every one of `hosts` had the time to deploy.
    - failed_for_good: those of them that settle as failed.
    - Returns: what does not hold, in words.
    """
    killed = {agent.host for agent in fleet.agents if agent.was_killed}
    return problems(Record.read(cluster), fleet.trace, commits, hosts, killed, failed_for_good)


def problems(
    record: Record, trace: Trace, commits: list[str], hosts: list[str], killed: set[str], failed_for_good: set[str]
) -> list[str]:
    return (
        overlaps(trace) + fences(trace) + nothing_runs(record) + leases(record)
        + results(record, trace, commits, hosts, failed_for_good) + fleet_results(record, trace, commits)
        + host_results(record, trace, killed) + adoptions(record))


def _name(event: Event) -> str:
    fence = "" if event.fence is None else f" fence {event.fence}"
    return f"{event.hook} of {event.commit[:7]} on {event.host}{fence} (run {event.run}, trace line {event.line})"


def overlaps(trace: Trace) -> list[str]:
    """No copy of a hook started while a process of another one lived."""
    return [f"OVERLAP: {_name(event)} started while another copy lived" for event in trace.of_kind("overlap")]


def fences(trace: Trace) -> list[str]:
    """Every copy has a greater number than all that started before it."""
    found = []
    newest: dict[str, Event] = {}
    for event in trace.of_kind("start"):
        if event.fence is None:
            continue
        before = newest.get(event.hook)
        if before and before.fence is not None and event.fence <= before.fence:
            found.append(f"FENCE: {_name(event)} started after {_name(before)}")
        newest[event.hook] = event
    return found


def nothing_runs(record: Record) -> list[str]:
    """Every run and deployment has ended."""
    return [
        f"RUNNING: deployment {row['id']} of {row['commit_id'][:7]} on {row['host']}"
        for row in record.deployments if row["status"] == "running"
    ] + [
        f"RUNNING: run {row['id']} {row['name']} of {row['commit_id'][:7]} on {row['host']}"
        for row in record.runs if row["status"] not in FINAL
    ]


def leases(record: Record) -> list[str]:
    """Nobody holds anything."""
    return [
        f"LEASE: {row['name']} is held by {row['host']} with fence {row['fence']} after all is over"
        for row in record.leases if row["holder"] is not None
    ]


def results(
    record: Record, trace: Trace, commits: list[str], hosts: list[str], failed_for_good: set[str]
) -> list[str]:
    """Every host has a settled deployment of every commit, and every copy that ran is in the record."""
    found = []
    settled = {(row["host"], row["commit_id"]): row["status"] for row in record.deployments if row["settled"]}
    for commit in commits:
        wanted = "failed" if commit in failed_for_good else "succeeded"
        for host in hosts:
            status = settled.get((host, commit))
            if status != wanted:
                found.append(f"RESULT: {commit[:7]} on {host} should have {wanted}, the record has {status}")
    by_marker = {row["marker"]: row for row in record.runs}
    for marker, copy in trace.copies().items():
        run = by_marker.get(marker)
        if not run:
            found.append(f"LOST: {_name(copy.start)} is not in the record")
            continue
        said = (copy.start.host, copy.start.hook, copy.start.commit, copy.start.fence)
        recorded = (run["host"], run["name"], run["commit_id"], run["fence"])
        if said != recorded:
            found.append(f"DIFFERENT: {_name(copy.start)} is recorded as {recorded}")
    return found


def fleet_results(record: Record, trace: Trace, commits: list[str]) -> list[str]:
    """The result of a hook for a commit is that of the run with the newest fence, which did in truth end so."""
    found = []
    copies = trace.copies()
    runs = [row for row in record.runs if row["fence"] is not None]
    by_fence: dict[tuple[str, int], dict] = {}
    newest: dict[tuple[str, str], dict] = {}
    succeeded = collections.Counter()
    for row in runs:
        key = (row["name"], row["fence"])
        if key in by_fence:
            found.append(f"FENCE: runs {by_fence[key]['id']} and {row['id']} of {row['name']} have {row['fence']}")
        by_fence[key] = row
        made = (row["name"], row["commit_id"])
        if made not in newest or newest[made]["fence"] < row["fence"]:
            newest[made] = row
        found += _true(row, copies.get(row["marker"]))
        if row["status"] == "succeeded":
            succeeded[made] += 1
    for (name, commit), count in succeeded.items():
        if count > 1:
            found.append(f"TWICE: {name} of {commit[:7]} is recorded as succeeded {count} times")
    hooks = {(row["name"], row["commit_id"]): row for row in record.outcomes}
    for made, run in newest.items():
        row = hooks.get(made)
        if not row:
            found.append(f"RESULT: {made[0]} of {made[1][:7]} has runs and no row of the fleet's")
        elif (row["run"], row["fence"]) != (run["id"], run["fence"]):
            found.append(
                f"STALE: {made[0]} of {made[1][:7]} has run {row['run']} with fence {row['fence']}, the newest is run "
                f"{run['id']} with fence {run['fence']}")
        elif row["status"] != run["status"]:
            found.append(
                f"RESULT: {made[0]} of {made[1][:7]} {row['status']}, its run {run['id']} {run['status']}")
    for made, row in hooks.items():
        if made not in newest:
            found.append(f"RESULT: {made[0]} of {made[1][:7]} names run {row['run']}, which is not in the record")
        if row["status"] == "running" or made[1] in commits and row["status"] in ("interrupted", "due"):
            found.append(f"RESULT: {made[0]} of {made[1][:7]} is left {row['status']}")
    return found


def _true(run: dict, copy: Copy | None) -> list[str]:
    """Whether the trace bears a recorded result out."""
    name = f"run {run['id']} {run['name']} of {run['commit_id'][:7]} on {run['host']} (fence {run['fence']})"
    if run["status"] == "succeeded" and not (copy and copy.did_end):
        return [f"UNTRUE: {name} is recorded as succeeded, and the hook did not end its work"]
    if run["status"] in ("failed", "deferred") and not (copy and copy.did_fail):
        return [f"UNTRUE: {name} is recorded as {run['status']}, and the hook did not fail"]
    return []


def host_results(record: Record, trace: Trace, killed: set[str]) -> list[str]:
    """What a host ran for itself is recorded as it ended, and in that order."""
    found = []
    copies = trace.copies()
    by_marker = {row["marker"]: row for row in record.runs if row["fence"] is None and row["adopted"] is None}
    for row in by_marker.values():
        found += _true(row, copies.get(row["marker"]))
    last: dict[str, tuple[int, Event]] = {}
    for marker, copy in copies.items():
        if copy.start.fence is not None or marker not in by_marker:
            continue
        run = by_marker[marker]
        allowed = ["succeeded"] if copy.did_end else ["failed", "deferred"] if copy.did_fail else ["interrupted"]
        if copy.start.host in killed:
            allowed.append("interrupted")
        if run["status"] not in allowed:
            found.append(f"LOST: {_name(copy.start)} {allowed[0]}, and is recorded as {run['status']}")
        if copy.start.host in last and last[copy.start.host][0] > run["id"]:
            found.append(f"ORDER: {_name(copy.start)} ran after {_name(last[copy.start.host][1])}")
        last[copy.start.host] = (run["id"], copy.start)
    return found


def adoptions(record: Record) -> list[str]:
    """What a host took from another is there, is the same hook of the same commit, and ended the same."""
    found = []
    by_id = {row["id"]: row for row in record.runs}
    for row in record.runs:
        if row["adopted"] is None:
            continue
        name = f"run {row['id']} {row['name']} of {row['commit_id'][:7]} on {row['host']}"
        original = by_id.get(row["adopted"])
        if not original or original["fence"] is None or original["adopted"] is not None:
            found.append(f"ADOPTED: {name} is that of run {row['adopted']}, which is none of the fleet's")
        elif any(row[column] != original[column] for column in ("name", "commit_id", "status")):
            found.append(f"ADOPTED: {name} {row['status']} differs from run {original['id']} {original['status']}")
        elif row["host"] == original["host"] and row["parent"] == original["parent"]:
            found.append(f"ADOPTED: {name} is its own deployment's")
    return found

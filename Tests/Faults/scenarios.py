"""The troubles that a fleet must stand, one function each. What must hold after each of them is in checker.py."""
import random
import signal
import subprocess
import threading
import time

import namespaces
import pooler
from cluster import ROLE, ROLE_PASSWORD, Cluster, end_session, make_standby
from fleet import Failure, Fleet
from proxy import DARK, DELAY, PASS, REFUSE
from world import SLACK, TAKEOVER, World


class Skipped(Exception):
    """It cannot be tried here."""


# Many at once


def many_at_once(world: World) -> None:
    """20 agents start at once on one commit: each hook of the fleet runs exactly once."""
    cluster = world.make_cluster(settings="max_connections = 100")
    fleet = world.make_fleet(20, cluster.url(), **Fleet.hooks("fleet", "fleet", 0.2))
    commit = fleet.commit()
    fleet.start()
    took = world.wait_settled(fleet, cluster, commit)
    world.note(f"{took:.1f} s for 20 hosts")
    commits = [commit]
    for _ in range(world.choose(0, 3)):
        commits.append(fleet.commit())
        world.wait_settled(fleet, cluster, commits[-1])
    world.judge(fleet, cluster, commits)
    for hook in ("PRE_DEPLOY", "POST_DEPLOY"):
        ran = [event.commit for event in fleet.trace.of_kind("start", hook)]
        if sorted(ran) != sorted(commits):
            raise Failure(f"{hook} should have run once for each of {len(commits)} commits, and ran {len(ran)} times")


# The holder in trouble


def _held(world: World, count: int) -> tuple[Cluster, Fleet, str, str]:
    """A fleet one of whose agents runs a hook that does not end by itself: the cluster, fleet, hook and commit."""
    hook = world.random.choice(["PRE_DEPLOY", "POST_DEPLOY"])
    stubborn = world.random.random() < 0.5
    cluster = world.make_cluster()
    scopes = ("fleet", "host") if hook == "PRE_DEPLOY" else ("host", "fleet")
    # A hook that is done once more is what every fleet with leases must bear, so it is strict: its failure would show.
    fleet = world.make_fleet(
        world.choose(3, 4), cluster.url(), **Fleet.hooks(*scopes, 0.2, stubborn), POST_DEPLOY_MODE="strict",
        POST_DEPLOY_RETRIES="unlimited")
    fleet.hold(hook)
    commit = fleet.commit()
    fleet.start()
    return cluster, fleet, hook, commit


def _expect_other(first, second) -> None:
    if second.fence is None or first.fence is None:
        raise Failure("the hook has no DEPLOY_FENCE: it ran as the host's own")
    if second.host == first.host:
        raise Failure(f"{second.hook} started again on {first.host}, which was lost")


def _judge_takeover(world: World, cluster: Cluster, fleet: Fleet, commits: list[str], first) -> None:
    world.judge(fleet, cluster, commits)
    run = cluster.rows(f"SELECT status FROM deploy_agent.runs WHERE marker = '{first.marker}'")
    if [row["status"] for row in run] != ["interrupted"]:
        raise Failure(f"the run of the holder that was lost is recorded as {run}, not as interrupted")


def kill_holder(world: World) -> None:
    """kill -9 of the agent that runs the fleet's hook: another takes over in time, and the killed one comes back."""
    cluster, fleet, hook, commit = _held(world, 3)
    first = fleet.wait_for_start(hook)
    # Any moment of the heartbeat.
    time.sleep(world.random.uniform(0, 6))
    holder = fleet.agent(first.host)
    holder.kill()
    begin = time.monotonic()
    second = fleet.wait_for_start(hook, after=first.line, limit=TAKEOVER + SLACK)
    world.note(f"taken over after {time.monotonic() - begin:.1f} s")
    _expect_other(first, second)
    fleet.release(hook)
    holder.start()
    world.wait_settled(fleet, cluster, commit)
    commits = [commit, fleet.commit()]
    _judge_takeover(world, cluster, fleet, commits, first)


def stop_holder(world: World) -> None:
    """SIGTERM to the agent that runs the fleet's hook: it gives its lease up, and another need not wait for its expiry."""
    cluster, fleet, hook, commit = _held(world, 3)
    first = fleet.wait_for_start(hook)
    time.sleep(world.random.uniform(0, 2))
    holder = fleet.agent(first.host)
    begin = time.monotonic()
    holder.signal(signal.SIGTERM)
    assert holder.process
    if (code := holder.process.wait(20)) != 0:
        raise Failure(f"{holder.host} ended with {code} after SIGTERM")
    holder.process = None
    second = fleet.wait_for_start(hook, after=first.line, limit=10)
    world.note(f"taken over after {time.monotonic() - begin:.1f} s")
    _expect_other(first, second)
    fleet.release(hook)
    holder.start()
    world.wait_settled(fleet, cluster, commit)
    _judge_takeover(world, cluster, fleet, [commit, fleet.commit()], first)


def pause_holder(world: World) -> None:
    """SIGSTOP of the agent that runs the fleet's hook, past its lease's expiry, then SIGCONT: its hook is ended without
    it before another starts, and it writes no result over the other's."""
    cluster, fleet, hook, commit = _held(world, 3)
    first = fleet.wait_for_start(hook)
    time.sleep(world.random.uniform(0, 6))
    holder = fleet.agent(first.host)
    # What lives of it while it is stopped cannot go on; whatever happens it must be told to go on before it is ended.
    holder.signal(signal.SIGSTOP)
    begin = time.monotonic()
    if world.random.random() < 0.3:
        # The hook ends its work while nobody is awake to see it.
        fleet.release(hook)
    try:
        second = fleet.wait_for_start(hook, after=first.line, limit=TAKEOVER + SLACK)
        world.note(f"taken over after {time.monotonic() - begin:.1f} s")
        # Now and then it wakes up while the other still runs the hook, now and then after that.
        if world.random.random() < 0.5:
            fleet.release(hook)
        time.sleep(world.random.uniform(0, 3))
    finally:
        said = len(holder.words())
        holder.signal(signal.SIGCONT)
    _expect_other(first, second)
    time.sleep(world.random.uniform(0, 2))
    fleet.release(hook)
    world.wait_settled(fleet, cluster, commit)
    world.expect_word(holder, ("lease", "took over", "fence"), "it should say that it lost its lease", said)
    _judge_takeover(world, cluster, fleet, [commit, fleet.commit()], first)


def cut_off_in_namespace(world: World) -> None:
    """Agents in network namespaces of their own; the one that runs the fleet's hook is cut off from the server."""
    if not namespaces.can_be_made():
        raise Skipped("needs root")
    hook = "PRE_DEPLOY"
    hub = namespaces.Namespace()
    world.at_end(hub.close)
    cluster = world.make_cluster(namespace=hub.prefix)
    fleet = world.make_fleet(0, None, **Fleet.hooks("fleet", "host", 0.2, stubborn=world.random.random() < 0.5))
    wires = {}
    for number in range(1, 4):
        place = namespaces.Namespace()
        world.at_end(place.close)
        wire = namespaces.Wire(hub, place, number)
        wires[fleet.add(cluster.url(wire.hub_address), place.prefix).host] = wire
    fleet.hold(hook)
    commit = fleet.commit()
    fleet.start()
    first = fleet.wait_for_start(hook)
    time.sleep(world.random.uniform(0, 6))
    wires[first.host].cut()
    begin = time.monotonic()
    said = len(fleet.agent(first.host).words())
    second = fleet.wait_for_start(hook, after=first.line, limit=TAKEOVER + SLACK)
    world.note(f"taken over after {time.monotonic() - begin:.1f} s")
    _expect_other(first, second)
    fleet.release(hook)
    time.sleep(world.random.uniform(0, 5))
    wires[first.host].mend()
    world.wait_settled(fleet, cluster, commit)
    world.expect_word(
        fleet.agent(first.host), ("lease", "took over", "fence"), "it should say that it lost its lease", said)
    _judge_takeover(world, cluster, fleet, [commit, fleet.commit()], first)


def dark_for_a_while(world: World) -> None:
    """What the holder sends is swallowed for about as long as its lease lasts: its hook goes on, or is ended and recorded
    as interrupted, and nothing in between."""
    hook = "PRE_DEPLOY"
    cluster = world.make_cluster()
    fleet = world.make_fleet(0, None, **Fleet.hooks("fleet", "host", 0.2, stubborn=world.random.random() < 0.3))
    ways = {}
    for _ in range(3):
        way = world.make_proxy(cluster)
        ways[fleet.add(cluster.url(port=way.port)).host] = way
    fleet.hold(hook)
    commit = fleet.commit()
    fleet.start()
    first = fleet.wait_for_start(hook)
    if world.random.random() < 0.5:
        time.sleep(world.random.uniform(0, 6))
        seconds = world.random.uniform(8, 20)
    else:
        # At the edge: a renewal that was sent in time is answered when the hook's end has just begun.
        time.sleep(0.3)
        seconds = world.random.uniform(13.5, 16)
    ways[first.host].set(DARK)
    time.sleep(seconds)
    ways[first.host].set(PASS)
    time.sleep(world.random.uniform(0, 3))
    fleet.release(hook)
    world.wait_settled(fleet, cluster, commit)
    world.judge(fleet, cluster, [commit, fleet.commit()])
    ended = len([event for event in fleet.trace.of_kind("term") if event.marker == first.marker])
    world.note(f"dark for {seconds:.1f} s, the hook {'was ended' if ended else 'went on'}")


# The server in trouble


def _deploy(
    world: World, fleet: Fleet, cluster: Cluster, count: int, commits: list[str], passing: bool = False
) -> None:
    """Makes commits, each once the one before has settled everywhere.

    - passing: before some of them come others that are passed over or not, as it happens.
    """
    for _ in range(count):
        if passing and world.random.random() < 0.3:
            fleet.commit()
            time.sleep(world.random.uniform(0, 0.7))
        failing = {}
        if world.random.random() < 0.15:
            failing["PRE_DEPLOY"] = world.random.choice([1, 75])
        commits.append(fleet.commit(failing))
        world.wait_settled(fleet, cluster, commits[-1], limit=150)


def database_crashes(world: World) -> None:
    """kill -9 and restart of PostgreSQL at random moments during 200 deployments over 5 agents."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(
        5, cluster.url(), **Fleet.hooks(**world.scopes(), seconds=world.random.choice([0, 0.1, 0.5])),
        GITHUB_SYNC_INTERVAL="500ms")
    crashes = 0
    dice = random.Random(f"crashes {world.seed}")

    def crash(end: threading.Event) -> None:
        nonlocal crashes
        while not end.wait(dice.uniform(0.2, 6)):
            cluster.kill()
            # Mostly it is back soon; now and then it is away for longer than a lease lasts.
            away = dice.uniform(21, 30) if not world.short and dice.random() < 0.03 else dice.uniform(0, 3)
            end.wait(away)
            cluster.restart_after_crash()
            crashes += 1

    commits = [fleet.commit()]
    fleet.start()
    world.wait_settled(fleet, cluster, commits[0])
    finish = world.run_beside(crash)
    _deploy(world, fleet, cluster, world.choose(4, 40) - 1, commits)
    finish()
    world.judge(fleet, cluster, commits)
    world.note(f"{5 * len(commits)} deployments, {crashes} crashes")


def long_outage(world: World) -> None:
    """The server is away while hosts end what they run for themselves, and agents are killed meanwhile: each result was kept
    and is delivered, and nothing runs again."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(3, cluster.url(), **Fleet.hooks("fleet", "host", 0.2))
    commits = [fleet.commit()]
    fleet.start()
    world.wait_settled(fleet, cluster, commits[0])
    fleet.hold("POST_DEPLOY")
    commits.append(fleet.commit())

    def count(kind: str) -> int:
        return len([event for event in fleet.trace.of_kind(kind, "POST_DEPLOY") if event.commit == commits[1]])

    fleet.until(lambda: count("start") == 3, "POST_DEPLOY runs on every host", 60)
    cluster.kill()
    fleet.release("POST_DEPLOY")
    fleet.until(lambda: count("end") == 3, "POST_DEPLOY ends on every host", 20)
    # Kept from the first failure on: a server that is not there refuses at once.
    fleet.until(
        lambda: all(any((agent.folder / "state").rglob("spool/*.json")) for agent in fleet.agents),
        "what ended on every host is kept", 20)
    for agent in fleet.agents:
        if world.random.random() < 0.6:
            agent.kill()
            time.sleep(world.random.uniform(0, 2))
            agent.start()
    time.sleep(world.random.uniform(0, world.choose(1, 70)))
    cluster.restart_after_crash()
    world.wait_settled(fleet, cluster, commits[1])
    if count("start") != 3:
        raise Failure(f"POST_DEPLOY ran {count('start')} times on 3 hosts: a result that was kept was not delivered")
    commits.append(fleet.commit())
    world.judge(fleet, cluster, commits)
    ran = cluster.rows(
        "SELECT runs.status, count(*) AS count FROM deploy_agent.runs JOIN deploy_agent.deployments "
        f"ON parent = deployments.id WHERE commit_id = '{commits[1]}' AND name = 'POST_DEPLOY' GROUP BY 1")
    if ran != [{"status": "succeeded", "count": 3}]:
        raise Failure(f"POST_DEPLOY succeeded on 3 hosts, and the record has {ran}")


def result_in_outage(world: World) -> None:
    """The server crashes while the fleet's hook runs, which ends its work meanwhile: the result counts if its lease is still
    current when it arrives, or else the hook runs again."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(3, cluster.url(), **Fleet.hooks("fleet", "host", 0.2))
    fleet.hold("PRE_DEPLOY")
    commit = fleet.commit()
    fleet.start()
    fleet.wait_for_start("PRE_DEPLOY")
    time.sleep(world.random.uniform(0, 6))
    cluster.kill()
    begin = time.monotonic()
    time.sleep(world.random.uniform(0, 3))
    fleet.release("PRE_DEPLOY")
    time.sleep(world.random.uniform(0, world.choose(3, 26)))
    away = time.monotonic() - begin
    cluster.restart_after_crash()
    world.judge(fleet, cluster, [commit])
    ran = len(fleet.trace.of_kind("start", "PRE_DEPLOY"))
    world.note(f"away for {away:.1f} s, ran {ran} time{'s' if ran > 1 else ''}")
    # There is time to tell of it before anybody else may have the lease: 5 s at most had gone since it was renewed.
    if away < 12 and ran > 1:
        raise Failure(f"the server was away for {away:.1f} s, and PRE_DEPLOY ran {ran} times although it had succeeded")
    # Nobody was cut off while a hook ran for longer than it may: the first copy took 9 s at most, others a moment.
    if ended := fleet.trace.of_kind("term"):
        raise Failure(
            f"{ended[0].hook} on {ended[0].host} was ended under a lease that it had just been given (fence "
            f"{ended[0].fence}, trace line {ended[0].line})")


def standby(world: World) -> None:
    """The server that agents are told of is a read-only standby: nothing runs there until it is promoted."""
    primary = world.make_cluster("primary", settings="wal_level = replica")
    follower = make_standby(world.folder / "standby", primary)
    world.at_end(follower.remove)
    follower.start()
    # Made on the primary, or else the standby has no tables to find.
    first_fleet_tables = world.random.random() < 0.5
    fleet = world.make_fleet(3, follower.url(), **Fleet.hooks("fleet", "host", 0.2))
    commit = fleet.commit()
    if first_fleet_tables:
        # One check against the primary makes them.
        maker = fleet.agents[0]
        maker.url = primary.url()
        if maker.once().returncode != 0:
            raise Failure("a check against the primary failed")
        maker.url = follower.url()
        commit = fleet.commit()
        time.sleep(1)
    fleet.start()
    world.expect_nothing_for(fleet, world.random.uniform(2, 5), "the server is a read-only standby")
    for agent in fleet.agents:
        world.expect_word(agent, ("read-only", "standby"), "its ledger is a standby")
    primary.stop()
    follower.execute("SELECT pg_promote()")
    world.wait_settled(fleet, follower, commit)
    world.judge(fleet, follower, [commit, fleet.commit()])


def exhausted_connections(world: World) -> None:
    """Others have taken every connection: nothing new begins, what runs goes on, and afterwards nothing is missing."""
    cluster = world.make_cluster(settings="max_connections = 20")
    fleet = world.make_fleet(4, cluster.url(), **Fleet.hooks("fleet", "host", 0.2))
    taken: list[subprocess.Popen] = []
    exhausted = threading.Event()

    def take_all(end: threading.Event) -> None:
        # An agent that gives one back does not get it again.
        while not end.is_set():
            if any(held.poll() is not None for held in taken):
                # One was refused: the others have all that there are.
                exhausted.set()
            taken[:] = [held for held in taken if held.poll() is None]
            for _ in range(20 - len(taken)):
                taken.append(cluster.hold_session(ROLE, ROLE_PASSWORD, "SELECT 1"))
            end.wait(0.2)
        for held in taken:
            end_session(held)

    finish = world.run_beside(take_all)
    assert exhausted.wait(60), "the connections could not all be taken"
    commits = [fleet.commit()]
    fleet.start()
    world.expect_nothing_for(fleet, world.random.uniform(2, 6), "no connection is to be had")
    finish()
    world.wait_settled(fleet, cluster, commits[0])

    fleet.hold("PRE_DEPLOY")
    commits.append(fleet.commit())
    fleet.wait_for_start("PRE_DEPLOY", after=len(fleet.trace.events()))
    finish = world.run_beside(take_all)
    time.sleep(world.random.uniform(2, 8))
    if world.random.random() < 0.5:
        # The result comes while there is no connection.
        fleet.release("PRE_DEPLOY")
        time.sleep(world.random.uniform(1, 4))
    finish()
    fleet.release("PRE_DEPLOY")
    world.judge(fleet, cluster, commits)


def statement_timeouts(world: World) -> None:
    """Statements are given up by the server: somebody holds a lock on the tables, and later a limit is too short."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(3, cluster.url(), **Fleet.hooks("fleet", "host", 0.2))
    commits = [fleet.commit()]
    fleet.start()
    world.wait_settled(fleet, cluster, commits[0])
    tables = ["leases", "runs", "deployments", "outcomes", "agents"]
    for _ in range(world.choose(1, 3)):
        table = world.random.choice(tables)
        # Statements of the whole server are ended by hand, as an impatient administrator's script does.
        locker = cluster.hold_session("admin", "", f"BEGIN; LOCK TABLE deploy_agent.{table} IN ACCESS EXCLUSIVE MODE")
        commits.append(fleet.commit())
        deadline = time.monotonic() + world.random.uniform(2, 6)
        while time.monotonic() < deadline:
            cluster.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = "
                f"'{ROLE}' AND state = 'active' AND clock_timestamp() - query_start > interval '300 milliseconds'")
            time.sleep(0.1)
        end_session(locker)
        world.wait_settled(fleet, cluster, commits[-1])
    # Sessions that come from now on; the agents' own limit is set for each transaction and would be longer.
    cluster.execute(f"ALTER ROLE {ROLE} SET statement_timeout TO '{world.random.choice([1, 5, 20])}ms'")
    commits.append(fleet.commit())
    time.sleep(world.random.uniform(1, 4))
    cluster.execute(f"ALTER ROLE {ROLE} RESET statement_timeout")
    world.judge(fleet, cluster, commits)


def wrong_password(world: World) -> None:
    """The password is changed on the server: nothing runs, every agent says why and lives on until it is right again."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(3, cluster.url(), **Fleet.hooks("fleet", "host", 0.2))
    commits = [fleet.commit()]
    starts_wrong = world.random.random() < 0.5
    if not starts_wrong:
        fleet.start()
        world.wait_settled(fleet, cluster, commits[0])
    cluster.execute(f"ALTER ROLE {ROLE} PASSWORD 'another'")
    if starts_wrong:
        fleet.start()
    else:
        # Connections that were made before live on for a moment.
        time.sleep(9)
        commits.append(fleet.commit())
    world.expect_nothing_for(fleet, world.random.uniform(3, 6), "the password is wrong")
    for agent in fleet.agents:
        world.expect_word(agent, ("password authentication failed",), "its password is wrong")
    stranger = fleet.agents[0].once() if starts_wrong else None
    if stranger and stranger.returncode == 0:
        raise Failure("run-once ended with 0 although the password is wrong")
    if stranger and ROLE_PASSWORD in stranger.stdout + stranger.stderr:
        raise Failure("run-once printed the password")
    cluster.execute(f"ALTER ROLE {ROLE} PASSWORD '{ROLE_PASSWORD}'")
    world.judge(fleet, cluster, commits)


# The way to the server in trouble


def proxies(world: World) -> None:
    """A proxy before each agent that cuts, delays, refuses, half-closes and swallows."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(
        0, None, **Fleet.hooks(**world.scopes(), seconds=world.random.choice([0.1, 0.5, world.choose(1, 3)])),
        GITHUB_SYNC_INTERVAL="500ms")
    ways = []
    for _ in range(4):
        ways.append(world.make_proxy(cluster))
        fleet.add(cluster.url(port=ways[-1].port))
    dice = random.Random(f"proxies {world.seed}")
    longest = world.choose(1, 8)

    def trouble(end: threading.Event) -> None:
        for what in world.bag(dice, ["cut", "cut", "half", "half", REFUSE, DELAY, DARK]):
            if end.wait(dice.uniform(0.05, 1.5)):
                break
            way = dice.choice(ways)
            if what == "cut":
                way.cut()
            elif what == "half":
                way.half_close(toward_server=dice.random() < 0.5)
            else:
                way.set(what, delay=dice.uniform(0.01, 1.0))
                # Now and then for longer than a lease lasts.
                end.wait(dice.uniform(20, 27) if not world.short and dice.random() < 0.03 else dice.uniform(0.1, longest))
                # Half the times what was swallowed is lost for good.
                if dice.random() < 0.5:
                    way.cut()
                way.set(PASS)
        for way in ways:
            way.set(PASS)

    commits = [fleet.commit()]
    fleet.start()
    world.wait_settled(fleet, cluster, commits[0])
    finish = world.run_beside(trouble)
    _deploy(world, fleet, cluster, world.choose(2, 8), commits, passing=True)
    finish()
    world.judge(fleet, cluster, commits)


def through_pooler(world: World) -> None:
    """Through PgBouncer in transaction mode all works, and nothing of a session is left in its server connections."""
    if not pooler.program():
        raise Skipped("needs pgbouncer")
    cluster = world.make_cluster()
    pool = pooler.Pooler(world.folder / "pool", cluster, size=world.random.choice([2, 4]))
    world.at_end(pool.stop)
    pool.start()
    fleet = world.make_fleet(5, cluster.url(port=pool.port), **Fleet.hooks("fleet", "fleet", 0.5))
    commits = [fleet.commit()]
    fleet.start()
    world.wait_settled(fleet, cluster, commits[0])
    _deploy(world, fleet, cluster, world.choose(1, 6), commits)
    asked, left = pool.session_state()
    if left:
        raise Failure("; ".join(left))
    world.note(f"{len(asked)} server connections asked")
    world.judge(fleet, cluster, commits)


# Everything at once


def everything(world: World) -> None:
    """Agents are killed, stopped and started, the server crashes, connections break: all at random, all at once."""
    cluster = world.make_cluster()
    fleet = world.make_fleet(
        0, None, **Fleet.hooks(**world.scopes(), seconds=world.random.choice([0.1, 1, 3]),
                               stubborn=world.random.random() < 0.3), GITHUB_SYNC_INTERVAL="500ms")
    ways = []
    for _ in range(4):
        ways.append(world.make_proxy(cluster))
        fleet.add(cluster.url(port=ways[-1].port))
    dice = random.Random(f"everything {world.seed}")
    count = {"kill": 0, "stop": 0, "crash": 0, "cut": 0, "dark": 0}

    def trouble(end: threading.Event) -> None:
        for what in world.bag(dice, list(count)):
            # In a short run each comes once.
            if end.wait(dice.uniform(0.2, world.choose(1, 4))) or (world.short and all(count.values())):
                break
            count[what] += 1
            agent = dice.choice(fleet.agents)
            way = dice.choice(ways)
            if what == "kill":
                agent.kill()
                end.wait(dice.uniform(0, world.choose(2, 4)))
                agent.start()
            elif what == "stop":
                agent.signal(signal.SIGSTOP)
                end.wait(dice.uniform(18, 28) if not world.short and dice.random() < 0.3 else dice.uniform(0, world.choose(2, 4)))
                agent.signal(signal.SIGCONT)
            elif what == "crash":
                cluster.kill()
                end.wait(dice.uniform(0, 3))
                cluster.restart_after_crash()
            elif what == "cut":
                way.cut()
            else:
                way.set(DARK)
                end.wait(dice.uniform(18, 28) if not world.short and dice.random() < 0.3 else dice.uniform(0, world.choose(2, 4)))
                way.set(PASS)

    commits = [fleet.commit()]
    fleet.start()
    world.wait_settled(fleet, cluster, commits[0])
    finish = world.run_beside(trouble)
    for _ in range(world.choose(1, 8)):
        commits.append(fleet.commit())
        time.sleep(dice.uniform(0, 3))
        world.wait_settled(fleet, cluster, commits[-1], limit=200)
    finish()
    # Who was just started, too, is up once it has deployed this one.
    commits.append(fleet.commit())
    world.judge(fleet, cluster, commits)
    world.note(" ".join(f"{name} {number}" for name, number in count.items()))


# The first ones take longest.
ALL = [
    everything, database_crashes, proxies, kill_holder, pause_holder, cut_off_in_namespace, dark_for_a_while,
    many_at_once, wrong_password, exhausted_connections, long_outage, result_in_outage,
    statement_timeouts, standby, through_pooler, stop_holder,
]

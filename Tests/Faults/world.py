"""What one scenario has: a seeded source of chance, a folder, servers, a fleet; and how it is brought to rest and judged."""
import collections.abc
import pathlib
import random
import subprocess
import threading
import time

import checker
from cluster import PASSWORD, ROLE_PASSWORD, Cluster, Template, free_port
from fleet import Agent, Failure, Fleet
from proxy import Proxy

# A lease that nobody renews is over after 20 s, and another agent has noticed 5 s later at most.
TAKEOVER = 25.0
# Of that, what a busy machine may take on top to start the hook.
SLACK = 3.0


class World:
    def __init__(self, name: str, seed: int, folder: pathlib.Path, binary: str, template: Template, short: bool) -> None:
        self.name = name
        self.seed = seed
        self.folder = folder
        self.binary = binary
        self.template = template
        self.short = short
        # The same seed makes the same choices in every scenario, in whichever order scenarios run.
        self.random = random.Random(f"{name} {seed}")
        self.notes: list[str] = []
        self._closers: list[collections.abc.Callable[[], None]] = []
        folder.mkdir(parents=True)

    def note(self, text: str) -> None:
        """Is shown beside the scenario's name."""
        self.notes.append(text)

    def choose(self, short: int, full: int) -> int:
        return short if self.short else full

    def bag(self, dice: random.Random, things: list) -> collections.abc.Iterator:
        """Every one of the things in random order, and again without end: in a short run each comes, too."""
        while True:
            yield from dice.sample(things, len(things))

    # Making things

    def at_end(self, close: collections.abc.Callable[[], None]) -> None:
        self._closers.append(close)

    def make_cluster(self, name: str = "pg", namespace: list[str] | None = None, settings: str = "") -> Cluster:
        cluster = Cluster(self.folder / name, self.template, namespace, settings)
        self.at_end(cluster.remove)
        cluster.start()
        cluster.make_role()
        return cluster

    def make_proxy(self, cluster: Cluster) -> Proxy:
        proxy = Proxy(cluster.port, free_port())
        self.at_end(proxy.close)
        return proxy

    def make_fleet(self, count: int, url: str | None, **settings: str) -> Fleet:
        """- url: the ledger of all agents; None when they are added one by one."""
        fleet = Fleet(self.folder, self.binary, settings)
        self.at_end(fleet.remove)
        if url:
            for _ in range(count):
                fleet.add(url)
        return fleet

    def run_beside(self, body: collections.abc.Callable[[threading.Event], None]) -> collections.abc.Callable[[], None]:
        """Runs trouble beside the scenario.

        - body: is given the event that tells it to end, and leaves everything as it should be.
        - Returns: what tells it to end and waits for that; what it failed with is thrown there.
        """
        end = threading.Event()
        failures: list[BaseException] = []

        def trouble() -> None:
            try:
                body(end)
            except BaseException as error:  # noqa: it is thrown again where somebody waits
                failures.append(error)

        thread = threading.Thread(target=trouble, daemon=True)
        thread.start()

        def finish() -> None:
            end.set()
            thread.join()
            if failures:
                raise failures.pop()

        # Before what it troubles is taken away.
        self.at_end(lambda: (end.set(), thread.join()))
        return finish

    def scopes(self) -> dict[str, str | None]:
        """Which hooks the fleet has, one of them at least once for all."""
        return dict(zip(("pre", "post"), self.random.choice(
            [("fleet", "host"), ("host", "fleet"), ("fleet", "fleet"), ("fleet", None)])))

    # Waiting

    def wait_settled(self, fleet: Fleet, cluster: Cluster, commit: str, limit: float = 100) -> float:
        """Waits until every agent, those that are down at this moment too, has settled the tip and nothing runs any more."""
        begin = time.monotonic()
        hosts = [agent.host for agent in fleet.agents]
        missing: str | None = "the record cannot be read"
        while True:
            fleet.expect_alive()
            try:
                missing = checker.is_quiet(cluster, hosts, commit)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                # Somebody crashes it at this moment, or nobody has made the tables yet.
                missing = str(error)
            if missing is None:
                return time.monotonic() - begin
            if time.monotonic() - begin > limit:
                raise Failure(f"after {limit:.0f} s {missing}")
            time.sleep(0.4)

    def expect_nothing_for(self, fleet: Fleet, seconds: float, why: str) -> None:
        """Nothing new starts for a while, and no agent ends over it."""
        before = len(fleet.trace.of_kind("start"))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            started = fleet.trace.of_kind("start")[before:]
            if started:
                raise Failure(f"{started[0].hook} started on {started[0].host} although {why}")
            fleet.expect_alive()
            time.sleep(0.1)

    # The end

    def judge(
        self, fleet: Fleet, cluster: Cluster, commits: list[str], failed_for_good: set[str] = frozenset()
    ) -> None:
        """Brings all to rest, stops the agents, and looks at what was left."""
        self.wait_settled(fleet, cluster, commits[-1])
        hosts = [agent.host for agent in fleet.agents]
        problems = fleet.stop()
        problems += checker.check(fleet, cluster, commits, hosts, failed_for_good)
        problems += [
            f"SECRET: {agent.host}'s log has a password" for agent in fleet.agents
            if ROLE_PASSWORD in agent.words() or PASSWORD in agent.words()
        ]
        if problems:
            raise Failure("\n".join(problems))

    def close(self) -> None:
        """Ends everything, the last made first; what cannot be ended does not keep the rest alive."""
        for close in reversed(self._closers):
            try:
                close()
            except Exception as error:  # noqa: the scenario's own result counts
                self.note(f"while ending: {error}")

    def expect_word(self, agent: Agent, words: tuple[str, ...], why: str, since: int = 0) -> None:
        """The agent's log says something of a matter, soon."""
        end = time.monotonic() + 30
        while not any(word in agent.words()[since:].lower() for word in words):
            if time.monotonic() > end:
                raise Failure(f"{agent.host}'s log has none of {words}, {why}")
            time.sleep(0.1)

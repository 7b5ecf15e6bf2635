"""Agents that follow one upstream repository as hosts of one fleet."""
import collections.abc
import os
import pathlib
import signal
import subprocess
import threading
import time
import uuid

import processes
from trace import Trace

HOOK = pathlib.Path(__file__).resolve().parent / "hook.sh"
APP = "app"


class Agent:
    """One host. Its output is kept in one file over all of its lives."""

    def __init__(self, fleet: "Fleet", host: str, url: str, namespace: list[str]) -> None:
        self.fleet = fleet
        self.host = host
        self.url = url
        self.namespace = namespace
        self.folder = fleet.folder / host
        self.folder.mkdir()
        self.log = fleet.folder / f"{host}.log"
        self.process: subprocess.Popen | None = None
        # It was killed at least once: what it had not yet recorded then is recorded as interrupted.
        self.was_killed = False

    def environment(self) -> dict[str, str]:
        fleet = self.fleet
        settings = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
            "FAULT_RUN": os.environ["FAULT_RUN"], "FAULT_MARK": fleet.mark, "FAULT_OUT": str(fleet.out), "FAULT_HOST": self.host,
            "WORKSPACE_PATH": str(self.folder / "ws"), "AGENT_STATE_DIR": str(self.folder / "state"),
            "AGENT_LEDGER_URL": self.url, "AGENT_APP": APP, "AGENT_HOST": self.host, "AGENT_KILL_GRACE": "1",
            "GITHUB_SYNC_INTERVAL": "1", "GITHUB_REPO_URL": f"file://{fleet.upstream}",
            # Many agents run at once, and there is one port 9090.
            "ENABLE_DEV_HEALTH": "false",
        }
        return settings | fleet.settings

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.namespace + [self.fleet.binary, "run"], env=self.environment(), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process and self.is_alive:
            self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of the agent alone: its guard and its hook's processes are not touched."""
        self.was_killed = True
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def once(self, timeout: float = 60) -> subprocess.CompletedProcess:
        """Runs one check to its end."""
        return subprocess.run(
            self.namespace + [self.fleet.binary, "run-once", "--json"], env=self.environment(), cwd=self.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)

    def words(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Fleet:
    def __init__(self, folder: pathlib.Path, binary: str, settings: dict[str, str]) -> None:
        """
        - settings: of every agent, over what they have anyway. Hooks are given by `hooks`.
        """
        self.folder = folder
        self.binary = binary
        self.settings = settings
        self.mark = uuid.uuid4().hex
        self.out = folder / "out"
        for name in ("hold", "fail"):
            (self.out / name).mkdir(parents=True)
        self.trace = Trace(self.out)
        self.upstream = folder / "up.git"
        self.work = folder / "dev"
        self.agents: list[Agent] = []
        self.commits: list[str] = []
        self._committing = threading.Lock()
        self._git(["init", "-q", "--bare", "-b", "main", str(self.upstream)], folder)
        self._git(["init", "-q", "-b", "main", str(self.work)], folder)

    @staticmethod
    def hooks(pre: str | None, post: str | None, seconds: float, stubborn: bool = False) -> dict[str, str]:
        """Settings for hooks that take `seconds`; `pre` and `post` are their scopes, None for no such hook."""
        settings = {}
        for name, scope in (("PRE_DEPLOY", pre), ("POST_DEPLOY", post)):
            if scope:
                settings[f"{name}_COMMAND"] = f"exec bash {HOOK} {seconds}{' stubborn' if stubborn else ''}"
                settings[f"{name}_SCOPE"] = scope
        return settings

    def _git(self, arguments: list[str], folder: pathlib.Path) -> str:
        return subprocess.run(
            ["git"] + arguments, cwd=folder, check=True, capture_output=True, text=True, env={
                "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
                "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@t", "GIT_COMMITTER_NAME": "Ada",
                "GIT_COMMITTER_EMAIL": "a@t"}).stdout.strip()

    def commit(self, failing: dict[str, int] | None = None) -> str:
        """Makes a commit the tip.

        - failing: exit codes by hook; the first copy of that hook for this commit ends with it.
        """
        with self._committing:
            (self.work / "app.txt").write_text(f"v{len(self.commits)}\n")
            self._git(["add", "-A"], self.work)
            self._git(["commit", "-q", "-m", f"change {len(self.commits)}"], self.work)
            commit = self._git(["rev-parse", "HEAD"], self.work)
            # Before anybody can see the commit.
            for hook, code in (failing or {}).items():
                (self.out / "fail" / f"{hook}.{commit}").write_text(f"{code}\n")
            self._git(["push", "-q", str(self.upstream), "HEAD:main"], self.work)
            self.commits.append(commit)
            return commit

    def add(self, url: str, namespace: list[str] | None = None) -> Agent:
        agent = Agent(self, f"h{len(self.agents) + 1}", url, namespace or [])
        self.agents.append(agent)
        return agent

    def start(self) -> None:
        for agent in self.agents:
            agent.start()

    def agent(self, host: str) -> Agent:
        return next(agent for agent in self.agents if agent.host == host)

    # Holding hooks back

    def hold(self, hook: str) -> None:
        """From now on copies of the hook do not end by themselves."""
        (self.out / "hold" / hook).touch()

    def release(self, hook: str) -> None:
        (self.out / "hold" / hook).unlink(missing_ok=True)

    def wait_for_start(self, hook: str, after: int = 0, limit: float = 60):
        """The first start of a hook's copy after a line of the trace."""
        found = []

        def look() -> bool:
            found[:] = [event for event in self.trace.of_kind("start", hook) if event.line > after]
            return bool(found)

        self.until(look, f"a {hook} starts", limit)
        return found[0]

    def until(self, condition: collections.abc.Callable[[], bool], what: str, limit: float) -> float:
        """Waits for something; returns how long that took."""
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > limit:
                raise Failure(f"it did not happen within {limit:.0f} s that {what}")
            self.expect_alive()
            time.sleep(0.05)
        return time.monotonic() - begin

    def expect_alive(self) -> None:
        for agent in self.agents:
            if agent.process and not agent.was_killed and not agent.is_alive:
                raise Failure(f"{agent.host} ended by itself with {agent.process.returncode}: {agent.words()[-1500:]}")

    # The end

    def processes(self) -> list[int]:
        """Whatever the agents and all that they started have left alive, themselves included."""
        return processes.carrying(self.mark) + processes.guards(str(self.folder))

    def stop(self, limit: float = 20) -> list[str]:
        """Stops all agents in order; returns what was wrong with that."""
        problems = []
        running = [agent for agent in self.agents if agent.is_alive]
        for agent in running:
            agent.signal(signal.SIGTERM)
        deadline = time.monotonic() + limit
        for agent in running:
            assert agent.process
            try:
                code = agent.process.wait(max(0.1, deadline - time.monotonic()))
                if code != 0:
                    problems.append(f"{agent.host} ended with {code} after SIGTERM")
            except subprocess.TimeoutExpired:
                problems.append(f"{agent.host} did not end within {limit:.0f} s after SIGTERM")
        # A guard needs a moment to see that its agent is gone.
        deadline = time.monotonic() + 5
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        problems += [f"left alive: {processes.command_line(pid)}" for pid in left]
        return problems

    def remove(self) -> None:
        """Ends whatever is left."""
        for _ in range(50):
            left = self.processes()
            if not left:
                break
            processes.kill_all(left)
        for agent in self.agents:
            if agent.process:
                agent.process.wait()


class Failure(Exception):
    """Something that must hold did not."""

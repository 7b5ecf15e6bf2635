"""A PostgreSQL server of a scenario's own: a throw-away cluster that may be stopped, crashed and started again.

The server is this process's child and not a daemon, so it cannot be lost. A server does not run as root: then it runs as
the user that Debian's package made. The cluster is a copy of one that was made once, since initdb takes seconds.
"""
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import processes

PASSWORD = "s3cret-of-the-admin"
# Agents are no superusers: they own one schema of the database, and the reserved connections are not for them.
ROLE = "deployer"
ROLE_PASSWORD = "s3cret-of-the-agents"


def programs() -> str:
    found = glob.glob("/usr/lib/postgresql/*/bin")
    if not found:
        raise FileNotFoundError("no PostgreSQL server is installed: apt-get install postgresql")
    return max(found, key=lambda path: int(path.split("/")[-2]))


def as_server(command: list[str]) -> list[str]:
    """The command as it must be run for the server not to be root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] + command


def give_to_server(folder: pathlib.Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres", str(folder)], check=True)


_ports_given: set[int] = set()
_ports_lock = threading.Lock()


def free_port() -> int:
    """A port that nobody listens on, below those that outgoing connections take: while the server is down nobody gets
    its port, and no connection to it meets itself."""
    with _ports_lock:
        while True:
            port = random.randrange(18000, 32000)
            if port in _ports_given:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            _ports_given.add(port)
            return port


class Template:
    """A cluster that never runs, to be copied."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.data = folder / "template"
        self.data.mkdir()
        password = folder / "password"
        password.write_text(PASSWORD + "\n")
        give_to_server(self.data)
        give_to_server(password)
        subprocess.run(
            as_server([
                f"{programs()}/initdb", "-D", str(self.data), "-U", "admin", "--auth=scram-sha-256",
                f"--pwfile={password}", "-E", "UTF8", "--locale=C", "-N", "--wal-segsize=4"]),
            check=True, stdout=subprocess.DEVNULL, cwd="/")


class Cluster:
    def __init__(
        self, folder: pathlib.Path, template: Template | None, namespace: list[str] | None = None,
        settings: str = "",
    ) -> None:
        """
        - template: what it is a copy of; None when `data` is made by somebody else.
        - namespace: a command prefix that enters the network namespace where it runs; it listens on all of that
          namespace's addresses then.
        """
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.namespace = namespace or []
        self.process: subprocess.Popen | None = None
        self._session: subprocess.Popen | None = None
        self._asking = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        # Not deep below: a path for a socket has at most 107 bytes.
        self.sockets = folder / "s"
        self.sockets.mkdir(mode=0o755)
        give_to_server(self.sockets)
        if template:
            shutil.copytree(template.data, self.data)
        self.configure(f"""
            listen_addresses = '{"*" if namespace else "127.0.0.1"}'
            port = {self.port}
            unix_socket_directories = '{self.sockets}'
            fsync = off
            max_connections = 60
            shared_buffers = 16MB
            {settings}
            """)
        if namespace:
            with open(self.data / "pg_hba.conf", "a", encoding="utf-8") as file:
                file.write("host all all 10.0.0.0/8 scram-sha-256\n")
        give_to_server(self.folder)

    def configure(self, text: str) -> None:
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write("\n".join(line.strip() for line in text.splitlines()) + "\n")

    # Life

    def start(self, limit: float = 30) -> None:
        """Starts it and returns once it answers."""
        log = open(self.folder / "server.log", "ab")
        with log:
            self.process = subprocess.Popen(
                self.namespace + as_server([f"{programs()}/postgres", "-D", str(self.data)]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        deadline = time.monotonic() + limit
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        return subprocess.run(
            [f"{programs()}/pg_isready", "-q", "-h", str(self.sockets), "-p", str(self.port)]).returncode == 0

    def make_role(self) -> None:
        self.execute(
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE_PASSWORD}'; GRANT CREATE ON DATABASE postgres TO {ROLE}")

    def stop(self) -> None:
        """Stops it at once, as a crash would, but in order: SIGQUIT is its word for that."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9 of the server and all of its processes.

        It is stopped first: a process that it makes between our look and our kill would live on, hold the shared memory,
        and keep the server from being started again.
        """
        if not self.process or self.process.poll() is not None:
            return
        processes.send(self.process.pid, signal.SIGSTOP)
        family = processes.children(self.process.pid)
        processes.kill_all([self.process.pid] + family)
        self.process.wait()

    def restart_after_crash(self) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.start()

    def remove(self) -> None:
        if self._session:
            end_session(self._session)
        self.stop()

    # Use

    def url(self, host: str = "127.0.0.1", port: int | None = None, password: str = ROLE_PASSWORD) -> str:
        """What agents are given."""
        return f"postgresql://{ROLE}:{password}@{host}:{port or self.port}/postgres"

    def psql_command(self, user: str = "admin") -> list[str]:
        return ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.sockets), "-p", str(self.port), "-U", user,
                "postgres"]

    def psql_environment(self, password: str = PASSWORD) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C.UTF-8",
                "HOME": "/", "FAULT_RUN": os.environ["FAULT_RUN"]}

    def execute(self, sql: str) -> str:
        """Runs statements as the superuser, in the session that is kept open for this."""
        with self._asking:
            # One that was open when the server was killed is found dead: then a new one is made, once.
            if self._session and self._session.poll() is not None:
                self._session = None
            if not self._session:
                self._session = subprocess.Popen(
                    # An answer comes at all events.
                    self.psql_command(), env=self.psql_environment() | {"PGOPTIONS": "-c statement_timeout=20s"},
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            session = self._session
            assert session.stdin and session.stdout
            end = "--answered--"
            try:
                session.stdin.write(f"{sql};\n\\echo {end}\n")
                session.stdin.flush()
            except BrokenPipeError:
                pass
            lines = []
            for line in session.stdout:
                if line.rstrip("\n") == end:
                    return "\n".join(lines)
                lines.append(line.rstrip("\n"))
            # psql ends at the first error, with its words for the last.
            session.wait()
            self._session = None
            raise RuntimeError(f"{' '.join(sql.split())[:200]}: {' '.join(lines)}")

    def rows(self, sql: str) -> list[dict]:
        """The rows of a SELECT, by column name."""
        text = self.execute(f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) AS found")
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            # The server went away in the midst of it, and psql found it again.
            raise RuntimeError(f"no rows but: {text[:300]}") from None

    def hold_session(self, user: str, password: str, sql: str) -> subprocess.Popen:
        """A session that stays open until its standard input is closed."""
        held = subprocess.Popen(
            self.psql_command(user), env=self.psql_environment(password), stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        assert held.stdin
        try:
            held.stdin.write(sql + ";\n")
            held.stdin.flush()
        except BrokenPipeError:
            # The server refused it; psql has ended, or is about to.
            pass
        return held


def end_session(held: subprocess.Popen) -> None:
    assert held.stdin
    try:
        held.stdin.close()
    except BrokenPipeError:
        pass
    held.wait()


def make_standby(folder: pathlib.Path, primary: Cluster) -> Cluster:
    """A streaming standby: it follows the primary and takes no writes."""
    folder.mkdir(parents=True)
    give_to_server(folder)
    subprocess.run(
        as_server([
            f"{programs()}/pg_basebackup", "-D", str(folder / "data"), "-h", str(primary.sockets), "-p",
            str(primary.port), "-U", "admin", "-R", "-c", "fast", "-X", "stream"]),
        check=True, env=primary.psql_environment(), cwd="/", stdout=subprocess.DEVNULL)
    return Cluster(folder, None)

"""A PostgreSQL of the benchmarks' own, with the settings that it comes with: what was committed is on the disk."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from measuring import CLEAN, free_port, run, wait_until

PASSWORD = "bench"


class Cluster:
    """Runs on loopback within a `with`; ends with it, and with this process."""

    def __init__(self):
        self.port = free_port()
        self.url = f"postgresql://agent:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        # For psql and pgbench.
        self.environment = dict(
            CLEAN, PGHOST="127.0.0.1", PGPORT=self.port, PGUSER="agent", PGPASSWORD=PASSWORD, PGDATABASE="postgres")
        self.programs = max(
            pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))

    def __enter__(self):
        # A server does not run as root, and its user must be able to enter.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="agent-bench-postgres-"))
        self.server = None
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        self.folder.chmod(0o755)
        (self.folder / "password").write_text(PASSWORD)
        as_server = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            as_server += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
            shutil.chown(self.folder, "postgres", "postgres")
        data = self.folder / "data"
        run([*as_server, self.programs / "initdb", "-D", data, "-U", "agent", "--auth=scram-sha-256",
             f"--pwfile={self.folder / 'password'}", "-E", "UTF8", "--locale=C"], cwd=self.folder)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                "max_connections = 100\n")
        with (self.folder / "log").open("w") as log:
            self.server = subprocess.Popen(
                [*as_server, self.programs / "postgres", "-D", data], cwd=self.folder, env=CLEAN, stdout=log, stderr=log)
        ready = [self.programs / "pg_isready", "-q"]
        wait_until(lambda: subprocess.run(ready, env=self.environment).returncode == 0, what="PostgreSQL's start")

    def __exit__(self, *_):
        if self.server:
            # A fast shutdown: whoever is connected is disconnected.
            self.server.send_signal(signal.SIGINT)
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statements, schema="public"):
        """Runs statements and returns the rows of their answers."""
        result = subprocess.run(
            [self.programs / "psql", "-XAtqv", "ON_ERROR_STOP=1"], input=statements, capture_output=True, text=True,
            env=dict(self.environment, PGOPTIONS=f"-c search_path={schema}"))
        if result.returncode != 0:
            raise RuntimeError(f"psql: {result.stderr}")
        return [line.split("|") for line in result.stdout.splitlines()]

    def pgbench(self, schema, *arguments, **keywords):
        """Runs pgbench, with nothing of its own to set up, and returns what it printed."""
        result = subprocess.run(
            [self.programs / "pgbench", "-n", *map(str, arguments)], capture_output=True, text=True,
            env=dict(self.environment, PGOPTIONS=f"-c search_path={schema}"), **keywords)
        if result.returncode != 0:
            raise RuntimeError(f"pgbench: {result.stderr}")
        return result.stdout

"""PgBouncer in transaction mode before a cluster: each transaction may get another server connection."""
import pathlib
import shutil
import subprocess
import time

from cluster import ROLE, ROLE_PASSWORD, Cluster, as_server, free_port, give_to_server


def program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


class Pooler:
    def __init__(self, folder: pathlib.Path, cluster: Cluster, size: int) -> None:
        """- size: server connections."""
        self.folder = folder
        self.cluster = cluster
        self.size = size
        self.port = free_port()
        folder.mkdir()
        (folder / "users").write_text(f'"{ROLE}" "{ROLE_PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text(f"""\
[databases]
postgres = host={cluster.sockets} port={cluster.port} dbname=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/log
""")
        give_to_server(folder)

    def start(self) -> None:
        path = program()
        assert path
        self.process = subprocess.Popen(
            as_server([path, "-q", str(self.folder / "pgbouncer.ini")]), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True)
        deadline = time.monotonic() + 15
        while self.ask("SELECT 1").wait() != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pgbouncer did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def ask(self, sql: str) -> subprocess.Popen:
        """A statement through the pool, under way."""
        return subprocess.Popen(
            ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "postgres", "-c", sql],
            env=self.cluster.psql_environment(ROLE_PASSWORD), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def session_state(self) -> tuple[set[str], list[str]]:
        """Server connections that were asked, by process id, and what is left in them that a session should not keep.

        So many at once as there are connections, each for a while, and again until each connection was asked.
        """
        sql = """
            SELECT pg_backend_pid() || '|' || concat_ws(' ',
                (SELECT 'listens to ' || string_agg(name, ', ') FROM pg_listening_channels() AS name),
                (SELECT 'prepared ' || string_agg(name, ', ') FROM pg_prepared_statements),
                (SELECT 'holds ' || count(*) || ' advisory locks' FROM pg_locks
                    WHERE locktype = 'advisory' AND pid = pg_backend_pid() HAVING count(*) > 0),
                (SELECT 'has set ' || string_agg(pg_settings.name || ' to ' || setting, ', ') FROM pg_settings
                    WHERE source = 'session' AND pg_settings.name NOT IN
                        ('client_encoding', 'application_name', 'DateStyle', 'TimeZone', 'standard_conforming_strings',
                        'IntervalStyle')))
            FROM pg_sleep(0.5)
            """
        asked: set[str] = set()
        left: list[str] = []
        for _ in range(8):
            for asking in [self.ask(sql) for _ in range(self.size)]:
                output, _ = asking.communicate(timeout=60)
                pid, _, state = output.strip().partition("|")
                asked.add(pid)
                if state:
                    left.append(f"server connection {pid} {state}")
            of_pool = self.cluster.rows(f"SELECT pid::text FROM pg_stat_activity WHERE usename = '{ROLE}'")
            if asked.issuperset(row["pid"] for row in of_pool):
                return asked, left
        left.append(f"only {len(asked)} of {len(of_pool)} server connections could be asked")
        return asked, left

    def stop(self) -> None:
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()

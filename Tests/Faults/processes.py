"""Processes of this machine, by their ids and by the mark in their environment.

Everything that is started here carries `FAULT_RUN` in its environment, and agents with all that they start `FAULT_MARK` too,
their fleet's: what is left at the end is found by that, wherever it has gone, and nothing else is ever touched.
"""
import ctypes
import os
import pathlib
import signal
import subprocess
import threading
import time

PR_SET_CHILD_SUBREAPER = 36


class Own(subprocess.Popen):
    """A child that somebody here waits for."""

    ids: set[int] = set()

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        Own.ids.add(self.pid)


def become_subreaper() -> None:
    """Orphans of killed agents become this process's children, not those of whoever runs it, and are reaped: agents that look
    through all processes would look through thousands of ended ones after an hour."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen = Own
    threading.Thread(target=_reap_orphans, daemon=True).start()


def _read(pid: int, name: str) -> bytes:
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def all_ids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent_and_state(pid: int) -> tuple[int, str]:
    """The parent's id and the state letter; (0, "") when it is gone."""
    after_name = _read(pid, "stat").rpartition(b") ")[2].split()
    return (int(after_name[1]), after_name[0].decode()) if len(after_name) > 1 else (0, "")


def children(parent: int) -> list[int]:
    return [pid for pid in all_ids() if parent_and_state(pid)[0] == parent]


def carrying(mark: str, variable: str = "FAULT_MARK") -> list[int]:
    """Ids of the living whose environment has the mark; a zombie has none."""
    entry = f"{variable}={mark}".encode()
    return [pid for pid in all_ids() if entry in _read(pid, "environ").split(b"\0")]


def command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def guards(folder: str) -> list[int]:
    """Ids of the guards of runs below a folder: they are started without an environment."""
    return [
        pid for pid in all_ids() if " guard-run " in (words := command_line(pid)) and f" {folder}/" in words
        and is_alive(pid)]


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def is_alive(pid: int) -> bool:
    return parent_and_state(pid)[1] not in ("", "Z", "X")


def kill_all(pids: list[int], limit: float = 10) -> None:
    """Kills them and returns once none lives."""
    for pid in pids:
        send(pid, signal.SIGKILL)
    deadline = time.monotonic() + limit
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {[pid for pid in pids if is_alive(pid)]} do not die")
        time.sleep(0.01)


def _reap_orphans() -> None:
    """Reaps ended children that nobody here waits for. Twice looked at: one that was just started is not noted yet."""
    before: set[int] = set()
    while True:
        time.sleep(1)
        ended = {pid for pid in children(os.getpid()) if pid not in Own.ids and parent_and_state(pid)[1] == "Z"}
        for pid in ended & before:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        before = ended - before

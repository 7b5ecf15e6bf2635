"""What the hooks say of themselves.

Every copy of a hook appends lines to one file that all hosts share:

    UPTIME KIND HOST HOOK COMMIT FENCE MARKER RUN PID

KIND is `start`, `end` (it did its work), `fail` (it ends with a failure that was asked for), `term` (it was told to end) or
`overlap`. A line is one write to a file opened with O_APPEND, so the file's order is the order of events on this machine,
whatever network namespace a hook is in; UPTIME (seconds since boot, from /proc/uptime) only tells how long things took.

A hook that is killed cannot write that it ended, and a line with its death written by somebody else would always come late.
So the kernel keeps watch: a copy takes a lock (flock) on a file of its hook before it starts, and everything that it starts
inherits the lock. It is free again when the last process of the copy is gone. A copy that finds it taken writes `overlap`,
and that is exact: no clock is compared, and nothing depends on when this program looks. `is_held` asks the same of a copy
that nobody follows.
"""
import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Event:
    line: int
    time: float
    kind: str
    host: str
    hook: str
    commit: str
    # None for a hook that every host runs for itself.
    fence: int | None
    marker: str
    run: str
    pid: int


@dataclasses.dataclass
class Copy:
    """One execution of a hook."""

    start: Event
    last: Event
    did_end: bool = False
    did_fail: bool = False


class Trace:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.file = folder / "trace"

    def events(self) -> list[Event]:
        if not self.file.exists():
            return []
        return [self._event(number, line) for number, line in enumerate(self.file.read_text().splitlines(), 1)]

    @staticmethod
    def _event(number: int, line: str) -> Event:
        time, kind, host, hook, commit, fence, marker, run, pid = line.split(" ")
        return Event(
            number, float(time), kind, host, hook, commit, None if fence == "-" else int(fence), marker, run, int(pid))

    def of_kind(self, kind: str, hook: str | None = None) -> list[Event]:
        return [event for event in self.events() if event.kind == kind and hook in (None, event.hook)]

    def copies(self) -> dict[str, Copy]:
        """By marker, in the order of their starts."""
        found: dict[str, Copy] = {}
        for event in self.events():
            if event.kind == "start":
                found[event.marker] = Copy(event, event)
            elif event.marker in found:
                copy = found[event.marker]
                copy.last = event
                copy.did_end = copy.did_end or event.kind == "end"
                copy.did_fail = copy.did_fail or event.kind == "fail"
        return found

    def is_held(self, hook: str) -> bool:
        """Whether a process of a copy of a fleet's hook lives at this moment. Read from the kernel's list: taking the lock
        to find out would make a copy that starts at this moment believe that there is another."""
        try:
            inode = (self.folder / f"{hook}.lock").stat().st_ino
        except FileNotFoundError:
            return False
        locks = pathlib.Path("/proc/locks").read_text().splitlines()
        return any(f":{inode} " in line and " FLOCK " in line for line in locks)

"""Network namespaces of our own: one for the server, one for each agent, wired to it. The machine's own is not touched."""
import os
import subprocess
import time


def can_be_made() -> bool:
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--net", "ip", "link"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Namespace:
    """Lives for as long as the process that was started in it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], start_new_session=True)
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        # It is in its namespace before it becomes `sleep`, and in ours before that.
        while os.readlink(f"/proc/{self._keeper.pid}/ns/net") == own:
            if time.monotonic() > deadline:
                raise TimeoutError("no network namespace was made")
            time.sleep(0.01)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        return self._keeper.pid

    @property
    def prefix(self) -> list[str]:
        """Before a command, makes it run in here."""
        return ["nsenter", "--target", str(self.pid), "--net"]

    def run(self, *command: str) -> None:
        subprocess.run(self.prefix + list(command), check=True)

    def close(self) -> None:
        self._keeper.kill()
        self._keeper.wait()


class Wire:
    """A cable from a hub's namespace to another one."""

    def __init__(self, hub: Namespace, other: Namespace, number: int) -> None:
        self.hub = hub
        self.name = f"w{number}"
        # As the other end sees the hub.
        self.hub_address = f"10.77.{number}.1"
        hub.run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "out", "netns", str(other.pid))
        hub.run("ip", "address", "add", f"{self.hub_address}/30", "dev", self.name)
        hub.run("ip", "link", "set", self.name, "up")
        other.run("ip", "address", "add", f"10.77.{number}.2/30", "dev", "out")
        other.run("ip", "link", "set", "out", "up")

    def cut(self) -> None:
        """From now on nothing arrives on either side, and nobody is told."""
        self.hub.run("ip", "link", "set", self.name, "down")

    def mend(self) -> None:
        self.hub.run("ip", "link", "set", self.name, "up")

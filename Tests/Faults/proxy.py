"""A TCP proxy on loopback between agents and their server, that misbehaves on demand.

One thread a direction of a connection. A change of mode takes effect on the next piece of data, and at once where it ends
connections. What is held back in the dark is delivered when the light comes back, in order, as TCP would do it by sending
again.
"""
import socket
import struct
import threading
import time

# What it can be told to do, in the words of the chaos that tells it.
PASS, REFUSE, DELAY, DARK = "pass", "refuse", "delay", "dark"


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        # That still pass data on; guarded by the proxy's lock.
        self.directions = 2

    def reset(self) -> None:
        """Ends both sides with RST: unsent data is thrown away."""
        for side in (self.client, self.server):
            try:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the thread that reads; close alone would not.
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            try:
                side.close()
            except OSError:
                pass


class Proxy:
    def __init__(self, server_port: int, port: int) -> None:
        self.server_port = server_port
        self.port = port
        self.mode = PASS
        self.delay = 0.0
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()
        self._closed = False
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    # Misbehaving

    def set(self, mode: str, delay: float = 0.0) -> None:
        with self._changed:
            self.mode, self.delay = mode, delay
            self._changed.notify_all()

    def cut(self) -> None:
        """Ends every connection now; new ones are as the mode says."""
        for connection in self._live():
            connection.reset()

    def half_close(self, toward_server: bool) -> None:
        """Says to one side that the other has finished sending, and goes on the other way."""
        for connection in self._live():
            try:
                (connection.server if toward_server else connection.client).shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def close(self) -> None:
        self._closed = True
        self.set(PASS)
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut()

    def _live(self) -> list[_Connection]:
        with self._changed:
            return list(self._connections)

    # Passing on

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == REFUSE:
                _Connection(client, socket.socket()).reset()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port), timeout=5)
            except OSError:
                _Connection(client, socket.socket()).reset()
                continue
            server.settimeout(None)
            connection = _Connection(client, server)
            with self._changed:
                self._connections.add(connection)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(connection, source, target), daemon=True).start()

    def _pump(self, connection: _Connection, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                with self._changed:
                    while self.mode == DARK and not self._closed:
                        self._changed.wait()
                    delay = self.delay if self.mode == DELAY else 0
                if delay:
                    time.sleep(delay)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            connection.reset()
        # The first of the two to end leaves the other direction going; the second takes the connection away.
        with self._changed:
            connection.directions -= 1
            if connection.directions > 0:
                return
            self._connections.discard(connection)
        connection.reset()

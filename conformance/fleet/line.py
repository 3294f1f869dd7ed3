"""A line between a client and the server: a relay that a story cuts, leaves half open, and mends. TLS goes through untouched."""

import contextlib
import queue
import socket
import struct
import threading

CHUNK = 64 * 1024


def reset(connection: socket.socket):
    """Ends a connection as a broken line does: no farewell of TLS or of MQTT."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class Connection:
    """One connection through the line: the client's side is near, the server's is far."""

    def __init__(self, near, far):
        self.near, self.far, self.orphaned = near, far, False


class Line:
    """Listens, and goes to the port that `target` names when a connection comes: a server that was killed is back on another."""

    def __init__(self, target, host="127.0.0.1", port=0):
        self.target, self.host = target, "localhost" if host == "127.0.0.1" else host
        self.listener = socket.create_server((host, port))
        self.port = self.listener.getsockname()[1]
        self.up, self.tried = True, 0
        self.connections, self.lock = [], threading.Lock()
        # One entry for each connection that the server has ended.
        self.ends = queue.Queue()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.tried += 1
            try:
                if not self.up:
                    raise ConnectionRefusedError
                far = socket.create_connection(("127.0.0.1", self.target()), 5)
            except OSError:
                reset(near)
                continue
            far.settimeout(None)
            for side in (near, far):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made = Connection(near, far)
            with self.lock:
                if not self.up:
                    reset(near), reset(far)
                    continue
                self.connections.append(made)
            threading.Thread(target=self.outward, args=(made,), daemon=True).start()
            threading.Thread(target=self.homeward, args=(made,), daemon=True).start()

    def outward(self, made):
        """From the client to the server, until either ends or the line does."""
        with contextlib.suppress(OSError):
            while data := made.near.recv(CHUNK):
                made.far.sendall(data)
        if not made.orphaned:
            with contextlib.suppress(OSError):
                made.far.shutdown(socket.SHUT_WR)

    def homeward(self, made):
        """From the server to the client; what is said to an orphan goes nowhere."""
        with contextlib.suppress(OSError):
            while data := made.far.recv(CHUNK):
                if not made.orphaned:
                    made.near.sendall(data)
        with self.lock:
            ended = made in self.connections
            if ended:
                self.connections.remove(made)
        if ended:
            self.ends.put("ended")
            with contextlib.suppress(OSError):
                made.near.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """Both sides lose their connections, and no new ones come until it is mended."""
        with self.lock:
            self.up = False
            gone, self.connections = self.connections, []
        for made in gone:
            reset(made.near), reset(made.far)

    def orphan(self):
        """The client loses its connection and the server does not know; no new ones come until it is mended."""
        with self.lock:
            self.up = False
            for made in self.connections:
                made.orphaned = True
                reset(made.near)

    def refuse(self):
        """What is connected stays so, and nothing new comes."""
        with self.lock:
            self.up = False

    def mend(self):
        with self.lock:
            self.up = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

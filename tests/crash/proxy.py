"""Stands before PostgreSQL's socket and can cut every connection off for a while."""

import socket
import threading
from pathlib import Path


class Proxy:
    """Listens in `directory` as PostgreSQL does, and passes on to the server in `server`."""

    NAME = ".s.PGSQL.5432"

    def __init__(self, directory, server):
        self.server = str(Path(server) / self.NAME)
        self.connections = set()
        self.open = True
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(Path(directory) / self.NAME))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if not self.open:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.server)
            self.connections |= {client, server}
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, source, sink):
        try:
            while piece := source.recv(64 << 10):
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            cut(end)
            self.connections.discard(end)

    def cut(self):
        """Ends every connection, and refuses new ones until `mend`."""
        self.open = False
        for connection in list(self.connections):
            cut(connection)

    def mend(self):
        self.open = True


def cut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass

"""A TCP gate before Milvus: closed, it hands on nothing and keeps every connection open, as a server that hangs."""

import selectors
import socket
import threading


class Gate:
    """`with Gate(("127.0.0.1", 19530), "10.99.0.2") as gate:`; its address is `gate.host:gate.port`."""

    def __init__(self, server: tuple[str, int], host: str):
        self.server, self.host = server, host
        self.open = threading.Event()
        self.open.set()
        self.closed = threading.Event()  # somebody knocked at the closed gate
        self.ended = False

    def __enter__(self) -> "Gate":
        self.listener = socket.create_server((self.host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.open.set()
        self.listener.close()

    def close(self) -> None:
        self.open.clear()

    def accept(self) -> None:
        while not self.ended:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(self.server) as server, selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                while not self.ended:
                    for key, _ in selector.select(1):
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        if not self.open.is_set():
                            self.closed.set()
                            self.open.wait(120)
                        key.data.sendall(data)
        except OSError:
            pass

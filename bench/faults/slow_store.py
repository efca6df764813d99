"""`slow_store.py SECONDS WORKERS`: samples come from a store in the network that answers after 15 ms."""

import multiprocessing
import socket
import socketserver
import sys
import time

import torch
from parts import mlp, train
from torch.utils.data import DataLoader, Dataset

ANSWER_S, BYTES = 0.015, 3072


class Answer(socketserver.BaseRequestHandler):
    """The store: one sample a request."""

    def handle(self):
        """Answer for as long as the connection stands."""
        while self.request.recv(8):
            time.sleep(ANSWER_S)
            self.request.sendall(bytes(BYTES))


class Server(socketserver.ThreadingTCPServer):
    """A thread a connection."""

    daemon_threads = True


def serve(port):
    """The process of the store."""
    with Server(("127.0.0.1", 0), Answer) as server:
        port.value = server.server_address[1]
        server.serve_forever()


class Remote(Dataset):
    """A connection a process."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def __len__(self):
        return 4096

    def __getitem__(self, index):
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", self.port))
        self.connection.sendall(index.to_bytes(8))
        read = b""
        while len(read) < BYTES:
            read += self.connection.recv(BYTES)
        return torch.frombuffer(bytearray(read), dtype=torch.uint8).float() / 255, index % 10


if __name__ == "__main__":
    torch.set_num_threads(1)
    port = multiprocessing.Value("i", 0)
    store = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    store.start()
    while not port.value:
        time.sleep(0.01)
    train(mlp(), DataLoader(Remote(port.value), batch_size=8, shuffle=True, num_workers=int(sys.argv[2])))
    store.terminate()

"""The client's side of the wire, by hand, so that nothing of the package tests itself."""

import json
import socket
import struct

PATIENCE = 20.0  # seconds after which a test fails


def frame(body):
    """A frame with `body`, which is bytes or else becomes JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return struct.pack(">I", len(body)) + body


def request(id, method, body=None, **extra):
    return frame({"id": id, "method": method, "body": body, **extra})


def cancellation(id):
    return frame({"type": "cancellation", "payload": {"id": id, "reason": "test"}})


def hello(id=1, features=("error-details", "cancel"), **extra):
    return request(
        id, "pyproc.hello", {"versions": [1], "features": list(features), "agent": "test", **extra}
    )


class Client:
    """A connection to a worker. Each wait ends after `PATIENCE` seconds."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def call(self, method, body=None, id=1):
        self.send(request(id, method, body))
        return self.receive()

    def say_hello(self, **extra):
        self.send(hello(**extra))
        return self.receive()

    def receive(self):
        return json.loads(self.receive_body())

    def receive_all(self, count):
        """`count` responses by their ids."""
        responses = [self.receive() for _ in range(count)]
        return {response["id"]: response for response in responses}

    def receive_body(self):
        (length,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(length)

    def is_at_end(self):
        """Waits for the next byte or the end, and says whether it was the end."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError(f"the worker closed the connection after {bytes(data)!r}")
            data += piece
        return bytes(data)

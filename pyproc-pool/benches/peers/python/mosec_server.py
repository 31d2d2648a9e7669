"""mosec: its HTTP server in Rust, and worker processes behind it. It serves TCP only."""

import os
import signal
import sys

import msgspec
from mosec import Server, Worker

import functions
from lifeline import end_with_stdin

METHOD = "BENCH_METHOD"


class Call(Worker):
    def __init__(self):
        super().__init__()
        self._function = getattr(functions, os.environ[METHOD])
        self._is_json = self._function is not functions.total
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode

    def deserialize(self, data):
        return self._decode(data) if self._is_json else data

    def serialize(self, data):
        return self._encode(data)

    def forward(self, data):
        return self._function(data)


if __name__ == "__main__":
    _, port, workers, method = sys.argv
    # mosec reads the command line and the environment itself.
    del sys.argv[1:]
    os.environ.update(
        {
            METHOD: method,
            "MOSEC_ADDRESS": "127.0.0.1",
            "MOSEC_PORT": port,
            "MOSEC_MAX_REQUEST_SIZE": str(64 << 20),
            "MOSEC_LOG_LEVEL": "error",
        }
    )
    end_with_stdin(lambda: os.kill(os.getpid(), signal.SIGTERM))
    server = Server()
    server.append_worker(Call, num=int(workers), route=f"/{method}")
    server.run()

"""pyzmq: a socket pair over `ipc` to each process, JSON by msgspec, arrays without a copy."""

import multiprocessing
import os
import tempfile

import zmq

import functions
import measure


def serve(address, name):
    function = getattr(functions, name)
    socket = zmq.Context().socket(zmq.DEALER)
    unbounded(socket)
    socket.connect(address)
    end_with_parent()
    while True:
        if name == "total":
            answer = function(socket.recv(copy=False).buffer)
        else:
            answer = function(measure.decode(socket.recv()))
        socket.send(measure.encode(answer))


def unbounded(socket):
    """The default holds calls back at a thousand."""
    socket.set(zmq.SNDHWM, 0)
    socket.set(zmq.RCVHWM, 0)
    socket.set(zmq.LINGER, 0)


def end_with_parent():
    from threading import Thread

    def wait():
        multiprocessing.parent_process().join()
        os._exit(0)

    Thread(target=wait, daemon=True).start()


class Peer:
    def __init__(self, function, workers):
        self._directory = tempfile.TemporaryDirectory()
        self._is_json = function != "total"
        context = zmq.Context()
        spawn = multiprocessing.get_context("spawn")
        self._sockets = []
        self.processes = []
        for worker in range(workers):
            address = f"ipc://{self._directory.name}/{worker}"
            socket = context.socket(zmq.DEALER)
            unbounded(socket)
            socket.bind(address)
            process = spawn.Process(target=serve, args=(address, function), daemon=True)
            process.start()
            self._sockets.append(socket)
            self.processes.append(process)

    def send(self, worker, value):
        if self._is_json:
            self._sockets[worker].send(measure.encode(value))
        else:
            self._sockets[worker].send(value, copy=False)

    def receive(self, worker):
        return measure.decode(self._sockets[worker].recv())

    def close(self):
        for process in self.processes:
            process.kill()
            process.join()
        self._directory.cleanup()


if __name__ == "__main__":
    measure.main(Peer)

"""`multiprocessing`: a pipe to each process, values pickled, arrays as they are."""

import multiprocessing

import functions
import measure


def serve(pipe, name):
    function = getattr(functions, name)
    receive = pipe.recv_bytes if name == "total" else pipe.recv
    try:
        while True:
            pipe.send(function(receive()))
    except EOFError:
        pass


class Peer:
    def __init__(self, function, workers):
        # A fork would share our memory, and measure less than a process of its own needs.
        context = multiprocessing.get_context("spawn")
        self._pipes = []
        self.processes = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, function), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self.processes.append(process)
        self.send = self._send_bytes if function == "total" else self._send

    def _send(self, worker, value):
        self._pipes[worker].send(value)

    def _send_bytes(self, worker, array):
        self._pipes[worker].send_bytes(array)

    def receive(self, worker):
        return self._pipes[worker].recv()

    def close(self):
        for pipe in self._pipes:
            pipe.close()
        for process in self.processes:
            process.join()


if __name__ == "__main__":
    measure.main(Peer)

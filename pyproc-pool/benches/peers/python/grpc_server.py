"""gRPC's own Python server, with JSON in its messages."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import msgspec

import functions
from lifeline import end_with_stdin

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def of_json(function):
    return lambda message, _context: encode(function(decode(message)))


HANDLERS = {
    "predict": of_json(functions.predict),
    "echo": of_json(functions.echo),
    "burn": of_json(functions.burn),
    "total": lambda message, _context: encode(functions.total(message)),
}

if __name__ == "__main__":
    end_with_stdin()
    # More threads only wait for the interpreter lock.
    server = grpc.server(
        ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", -1)]
    )
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(function) for name, function in HANDLERS.items()
    }
    service = grpc.method_handlers_generic_handler("bench.Functions", handlers)
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"unix:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()

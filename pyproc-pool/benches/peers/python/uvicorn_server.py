"""The least that an ASGI server can be: uvicorn with uvloop and httptools, no framework."""

import sys

import msgspec
import uvicorn

import functions
from lifeline import end_with_stdin

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


async def app(scope, receive, send):
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message.get("more_body", False)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    answer = encode(answer_to(scope["path"], body))
    length = (b"content-length", str(len(answer)).encode())
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def answer_to(path, body):
    if path == "/total":
        return functions.total(body)
    return getattr(functions, path[1:])(decode(body))


if __name__ == "__main__":
    end_with_stdin()
    uvicorn.run(
        app,
        uds=sys.argv[1],
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
    )

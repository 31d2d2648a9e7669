"""The core in pure Python: serves the connections to one socket.

`loop` polls the sockets, `receiver` decodes what arrived, `turns` runs plain functions and
`concurrent` runs `async def` functions; `answers` encodes what they return.

What must stay true: the connections belong to one thread at a time; only `outgoing`, `in_flight`
and `concurrent` are used by several. Clients see no difference between this core and the native
one.
"""

"""The bounds of a worker, once for both cores: the native core reads them here when it starts."""

READ_SIZE = 128 * 1024
"""Bytes that one read takes at most."""

BUFFERED = 1024 * 1024
"""Bytes of requests not started, and of answers not read, beyond which reading a connection pauses.
Telemetry beyond it is refused."""

RUNNING = 64 * 1024 * 1024
"""Bytes of requests that run on the event loop, beyond which reading their connection pauses."""

RUNNING_COST = 4 * 1024
"""Bytes that such a request takes beside its argument, roughly."""

BURST = 64
"""Connections that are accepted before those that are there have their turn."""

TURN = 0.00005
"""Seconds of functions after which answers are sent and sockets looked at."""

QUICK = 0.0001
"""Seconds within which a function lets earlier answers wait for it."""

IDLE_CHECK = 1.0
"""Seconds between looks at what no socket announces."""

FLUSH = 5.0
"""Seconds that clients have to read the last answers."""

SPIN_MISSES = 8
"""Spins in a row that may find nothing."""

SPIN_REST = 64
"""Messages that come in sleep before the next spin."""

"""The limits of a worker, for both cores: the native core reads them here when it starts."""

READ_SIZE = 128 * 1024
"""Bytes of one read, at most."""

BUFFERED = 1024 * 1024
"""Bytes of queued requests, and of unsent answers, beyond which a connection is not read.
Telemetry beyond it is refused."""

RUNNING = 64 * 1024 * 1024
"""Bytes of calls in flight on the event loop beyond which their connection is not read."""

RUNNING_COST = 4 * 1024
"""Bytes that such a call takes besides its argument, roughly."""

BURST = 64
"""Connections that are accepted before others are served."""

TURN = 0.00005
"""Seconds of running functions after which answers are sent and sockets polled."""

QUICK = 0.0001
"""Seconds below which a function is quick: earlier answers wait for it."""

IDLE_CHECK = 1.0
"""Seconds between checks of conditions that no socket announces."""

FLUSH = 5.0
"""Seconds that a draining worker gives clients to read the last answers."""

SPIN_MISSES = 8
"""Spins without events in a row before spinning stops."""

SPIN_REST = 64
"""Messages received asleep before the next spin."""

"""The worker's process, from its start to its end.

`bootstrap` prepares a process before its script is loaded; `run` is `run_worker`: it reads the
settings, opens the socket, chooses the core and serves. `forwarding` starts the telemetry that
clients ask for; `doctor` describes the installation.

What must stay true: no core (`_loop`, `_core`) knows this room, and what a client has not asked
for is not loaded.
"""

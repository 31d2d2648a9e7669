"""What the operating system and the interpreter do around the functions.

Real threads and locks under gevent, forks, SIGTERM, exceptions from signal handlers, hooks on
imports, and who may connect.

What must stay true: this room knows nothing of calls, messages or telemetry.
"""

"""OpenTelemetry in functions: the pool's span is current, finished spans go to the pool.

What must stay true: this room is loaded only after the script has loaded OpenTelemetry's API, and
a provider that the script has set is left alone.
"""

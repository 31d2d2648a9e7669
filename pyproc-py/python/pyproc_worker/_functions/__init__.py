"""The exposed functions: how a name and a body become a call of a Python function.

`registry` holds the functions, and `services` the exposed classes. `parameters` plans once how the
body of a request fills a function's parameters; `hello` describes the functions to a client.

What must stay true: both cores call the same plan. A function without type hints needs neither
`inspect` nor `typing` (`untyped`).
"""

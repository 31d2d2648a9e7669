"""Type hints: which JSON values they admit, and which Python values are made of these.

`adapters` maps a hint to an `Adapter`: the type that msgspec converts to, and the JSON Schema.
`containers`, `classes`, `unions` and `constraints` do so for larger hints.

What must stay true: the schema admits exactly the values that are converted. Nothing here is
loaded until a function has a type hint.
"""

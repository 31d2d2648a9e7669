"""One call while it runs: its context, its cancellation, its times, its event loop.

Both cores use this room; the native one looks up its names.

What must stay true: a call that no observer or function asks for costs next to nothing, and
`asyncio` is loaded only for `async def` functions.
"""

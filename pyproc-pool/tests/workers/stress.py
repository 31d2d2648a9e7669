"""Returns what it gets, at once, beside others or later."""

import asyncio
import time

from pyproc_worker import expose, run_worker


@expose
def plain(req):
    return req


@expose
async def beside(req):
    await asyncio.sleep(0)
    return req


@expose
async def later(req):
    await asyncio.sleep(0.001 * (len(req) % 5))
    return req


@expose
def slow(req):
    time.sleep(0.001)
    return req


if __name__ == "__main__":
    run_worker()

"""A loop of asyncio in a thread of its own, for clients that are written for it."""

import asyncio
import threading

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def run(coroutine, seconds=60):
    """Waits for a coroutine, from outside the loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(seconds)

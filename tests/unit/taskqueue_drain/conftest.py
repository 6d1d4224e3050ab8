import asyncio

# looptime requests the current loop from the policy around every test. Python 3.11 would create a loop that nothing
# closes, except in a thread where set_event_loop(None) was called.
asyncio.set_event_loop(None)

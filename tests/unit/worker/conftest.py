import asyncio

# looptime asks the policy for its loop around every test, and Python 3.11 would make one that nobody closes.
# A thread that was once told that it has no loop is not given one.
asyncio.set_event_loop(None)

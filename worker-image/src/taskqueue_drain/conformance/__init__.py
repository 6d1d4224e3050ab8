"""Says which rules of docs/control-protocol.md a worker keeps: `python -m taskqueue_drain.conformance -- COMMAND`.

The kit starts the worker as a process, plays the operator, and reads the AMQP frames between worker and broker.
docs/conformance.md says how to use it.
"""

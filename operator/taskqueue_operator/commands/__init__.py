"""The command line for people: what it does, and how it shows that. Wires kube, rabbitmq and dead_letters. I/O."""

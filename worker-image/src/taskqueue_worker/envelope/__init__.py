"""How a message states its task: by AMQP properties and headers, or by a JSON envelope in the body. Pure."""

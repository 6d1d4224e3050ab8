"""How many workers: readings, policy, decisions and their explanations. Pure."""

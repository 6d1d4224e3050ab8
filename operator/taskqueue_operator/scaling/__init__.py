"""How many workers a queue needs: readings, policies, decisions and their explanations. Pure."""

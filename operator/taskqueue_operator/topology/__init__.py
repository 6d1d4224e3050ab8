"""The desired RabbitMQ objects of a TaskQueue, their differences from the actual ones, and their deletion. Pure."""

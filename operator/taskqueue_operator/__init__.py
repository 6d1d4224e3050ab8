"""An operator that reconciles, deploys and scales RabbitMQ queue workers from `TaskQueue` resources."""

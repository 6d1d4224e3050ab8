"""An app whose tasks call the webhooks of customers."""

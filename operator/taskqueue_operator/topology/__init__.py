"""What the broker should look like: desired objects, differences, deletion. Pure."""

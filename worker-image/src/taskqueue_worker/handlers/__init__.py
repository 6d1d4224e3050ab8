"""What a task declares about its handler."""

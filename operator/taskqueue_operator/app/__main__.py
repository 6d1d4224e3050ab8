"""`python -m taskqueue_operator.app` is the `taskqueue-operator` command."""

from .main import main

if __name__ == "__main__":
    main()

"""``python -m lorabench``: the same program as the ``lorabench`` command."""

from lorabench.cli import main

if __name__ == "__main__":
    main()

"""``python -m qabel_block.cli`` is ``qabel-block``."""

from qabel_block.cli.main import main

if __name__ == "__main__":
    main()

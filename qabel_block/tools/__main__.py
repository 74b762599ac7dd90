"""``python -m qabel_block.tools`` is ``qabel-block``."""

from qabel_block.tools.main import main

if __name__ == "__main__":
    main()

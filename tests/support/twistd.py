"""``python -m tests.support.twistd``: Twisted has ``twistd`` as a script only."""

from twisted.scripts.twistd import run

if __name__ == "__main__":
    run()

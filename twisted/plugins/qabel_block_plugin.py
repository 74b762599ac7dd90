"""Makes ``twist qabel-block`` and ``twistd qabel-block`` known."""

from twisted.application.service import ServiceMaker

qabel_block = ServiceMaker(
    "qabel-block",
    "qabel_block.tap",
    "Block storage for end-to-end encrypted clients.",
    "qabel-block",
)

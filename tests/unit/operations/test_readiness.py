"""What is missing for requests to be served."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from qabel_block.errors import Unavailable
from qabel_block.operations.readiness import LIMIT, Readiness


async def _works() -> None:
    pass


async def _fails() -> None:
    raise Unavailable("cache", "it is gone")


async def _hangs() -> None:
    await Deferred()


def test_failures() -> None:
    """What does not answer in time is named like what fails, with the reason."""
    clock = Clock()
    checks = {"database": _works, "cache": _fails, "storage": _hangs}
    found: list[dict[str, str]] = []
    asking = Deferred.fromCoroutine(Readiness(checks, clock).failures())
    asking.addCallback(found.append)
    clock.advance(LIMIT - 1)
    assert found == []
    clock.advance(1)
    reason = "does not answer within 5 s"
    assert found == [{"cache": "it is gone", "storage": reason}]


def test_one_at_a_time() -> None:
    """Those who ask while it is being found out share the answer; the next one
    gets a new one."""
    ends: list[Deferred[None]] = []

    async def check() -> None:
        ends.append(Deferred())
        await ends[-1]

    readiness = Readiness({"database": check}, Clock())
    found: list[dict[str, str]] = []
    asking = [Deferred.fromCoroutine(readiness.failures()) for _ in range(3)]
    for one in asking[:2]:
        one.addCallback(found.append)
    asking[2].addErrback(lambda _: None).cancel()
    assert len(ends) == 1
    ends[0].callback(None)
    assert found == [{}, {}]
    Deferred.fromCoroutine(readiness.failures()).addCallback(found.append)
    ends[1].errback(Unavailable("database", "it is gone"))
    assert found == [{}, {}, {"database": "it is gone"}]

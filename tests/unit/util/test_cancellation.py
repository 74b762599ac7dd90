"""Work that has begun is not cut in half."""

from twisted.internet.defer import CancelledError, Deferred

from qabel_block.util.cancellation import shield


def test_cancelling_only_stops_the_waiting() -> None:
    """Work goes on to its end when whoever waits for it is cancelled."""
    done: list[str] = []
    event: Deferred[None] = Deferred()

    async def work() -> None:
        await event
        done.append("done")

    waiting = shield(work())
    waiting.cancel()
    failures: list[object] = []
    waiting.addErrback(failures.append)
    assert failures[0].check(CancelledError)  # type: ignore[attr-defined]
    event.callback(None)
    assert done == ["done"]


def test_results_and_errors_are_passed_on() -> None:
    """Who waits gets what the work returns or raises."""

    async def work(fail: bool) -> int:
        if fail:
            raise ValueError("no")
        return 7

    results: list[object] = []
    shield(work(False)).addCallback(results.append)
    shield(work(True)).addErrback(lambda failure: results.append(failure.value))
    assert results[0] == 7
    assert isinstance(results[1], ValueError)

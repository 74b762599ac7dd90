"""Changes that are decided in one transaction, one after the other."""

from __future__ import annotations

from qabel_block.errors import (
    BlobCollected,
    NotOwner,
    PreconditionFailed,
    QuotaReached,
)
from qabel_block.ledger.commit import (
    Commit,
    Deletion,
    LockedStates,
    OwnerLocked,
    decide_changes,
)
from qabel_block.model import Change, ObjectName, PendingBlob, StoredObject, WriteState

QUOTA = 100


def _within_quota(size: int) -> Commit:
    def decide(state: WriteState) -> None:
        if state.used - (state.size or 0) + size > QUOTA:
            raise QuotaReached

    return Commit(ObjectName("p", "a"), _blob(f"p/a~{size}", size), decide, None)


def _commit(path: str, size: int, version: str = "1") -> Commit:
    name = ObjectName("p", path)
    blob = _blob(f"{name}~{version}", size)
    return Commit(name, blob, _within_quota(size).decide, None)


def _blob(key: str, size: int) -> PendingBlob:
    return PendingBlob(key, size, f'"{key}"', "0" * 64)


def _free(states: list[WriteState | None]) -> LockedStates:
    """All blobs are noted, and nobody has locked an owner."""
    return LockedStates(states, frozenset(range(len(states))))


def test_each_counts_for_the_next() -> None:
    """What one upload stores is used when the next is decided."""
    commits = [_commit(path, 40) for path in "abc"]
    states: list[WriteState | None] = [WriteState(1, 10, None)] * 3
    outcomes, puts = decide_changes(commits, _free(states))
    assert outcomes[:2] == [Change(1, 40), Change(1, 40)]
    assert isinstance(outcomes[2], QuotaReached)
    assert [name.path for name in puts] == ["a", "b"]


def test_owners_do_not_count_for_each_other() -> None:
    """Each owner has a quota of their own."""
    commits = [_commit(path, 60) for path in "ab"]
    states: list[WriteState | None] = [WriteState(1, 0, None), WriteState(2, 0, None)]
    outcomes, _ = decide_changes(commits, _free(states))
    assert outcomes == [Change(1, 60), Change(2, 60)]


def test_the_last_of_one_name_stays() -> None:
    """Of several uploads of one object each replaces the one before; the owner
    grows by what is there in the end."""
    old = StoredObject("p/a~0", 5, '"0"', None)
    commits = [_commit("a", 50, "1"), _commit("a", 30, "2"), _commit("a", 70, "3")]
    states: list[WriteState | None] = [WriteState(1, 5, old)] * 3
    outcomes, puts = decide_changes(commits, _free(states))
    assert outcomes == [Change(1, 45), Change(1, -20), Change(1, 40)]
    (put,) = puts.values()
    assert put.blob is not None
    assert (put.blob.blob_key, put.grown) == ("p/a~3", 65)


def test_the_next_sees_the_one_before() -> None:
    """A condition on the object is decided on what the uploads before left."""
    seen: list[str | None] = []

    def commit(version: str) -> Commit:
        plain = _commit("a", 1, version)
        return Commit(
            plain.name, plain.blob, lambda state: seen.append(state.etag), None
        )

    commits = [commit("1"), commit("2")]
    decide_changes(commits, _free([WriteState(1, 0, None)] * 2))
    assert seen == [None, '"p/a~1"']


def test_refusals() -> None:
    """Without a prefix, or without its note, an upload is refused, and counts
    for nobody."""
    commits = [_commit("a", 60), _commit("b", 60), _commit("c", 60)]
    states = [None, WriteState(1, 0, None), WriteState(1, 0, None)]
    outcomes, puts = decide_changes(commits, LockedStates(states, frozenset({0, 2})))
    assert isinstance(outcomes[0], NotOwner)
    assert isinstance(outcomes[1], BlobCollected)
    assert outcomes[1].blob_key not in str(outcomes[1])  # clients are told that
    assert outcomes[2] == Change(1, 60)
    assert [name.path for name in puts] == ["c"]


def test_deletions_beside_uploads() -> None:
    """A deletion frees room for the next upload of its owner; of deletions and
    uploads of one object each sees what the one before left."""
    old = StoredObject("p/a~0", 80, '"0"', None)
    again = _commit("a", 30)
    changes: list[Commit | Deletion] = [
        _commit("b", 90),
        Deletion(ObjectName("p", "a"), lambda state: None),
        Deletion(ObjectName("p", "a"), lambda state: None),
        again,
        _commit("b", 60),
    ]
    a, b = WriteState(1, 80, old), WriteState(1, 80, None)
    outcomes, writes = decide_changes(changes, _free([b, a, a, a, b]))
    assert isinstance(outcomes[0], QuotaReached)
    assert outcomes[1:] == [Change(1, -80), None, Change(1, 30), Change(1, 60)]
    assert writes[again.name].blob == again.blob
    assert {name.path: write.grown for name, write in writes.items()} == {
        "a": -50,
        "b": 60,
    }


def test_deleted_in_the_end() -> None:
    """What is uploaded and then deleted is not there; the owner is as before."""
    changes: list[Commit | Deletion] = [
        _commit("a", 50),
        Deletion(ObjectName("p", "a"), lambda state: None),
    ]
    outcomes, writes = decide_changes(changes, _free([WriteState(1, 0, None)] * 2))
    assert outcomes == [Change(1, 50), Change(1, -50)]
    (write,) = writes.values()
    assert (write.blob, write.grown) == (None, 0)


def test_refused_deletion() -> None:
    """A deletion whose condition does not hold changes nothing."""

    def decide(state: WriteState) -> None:
        raise PreconditionFailed(state.etag)

    deletion = Deletion(ObjectName("p", "a"), decide)
    outcomes, writes = decide_changes([deletion], _free([WriteState(1, 0, None)]))
    assert isinstance(outcomes[0], PreconditionFailed)
    assert not writes


def test_owner_whom_somebody_else_has_locked() -> None:
    """Nothing is decided about changes to a locked owner; others go on."""
    commits = [_commit(path, 60) for path in "ab"]
    states = [WriteState(1, 0, None), WriteState(2, 0, None)]
    locked = LockedStates(states, frozenset({0, 1}), owners_locked=frozenset({0}))
    outcomes, writes = decide_changes(commits, locked)
    assert isinstance(outcomes[0], OwnerLocked)
    assert outcomes[1] == Change(2, 60)
    assert [name.path for name in writes] == ["b"]


def test_control_files_count_for_the_next() -> None:
    """Control files of one repository add up for those that are decided later, not
    for those of another."""
    seen: list[int | None] = []

    def commit(prefix: str, path: str, size: int) -> Commit:
        name = ObjectName(prefix, path)
        blob = _blob(f"{name}~1", size)
        return Commit(name, blob, lambda state: seen.append(state.control), None)

    changes: list[Commit | Deletion] = [
        commit("p", "locks/a", 5),
        commit("p", "data/b", 50),
        commit("p", "index/c", 7),
        commit("q", "index/d", 9),
        Deletion(ObjectName("p", "locks/a"), lambda state: None),
        commit("p", "snapshots/e", 1),
    ]
    decide_changes(changes, _free([WriteState(1, 0, None, control=1)] * 6))
    assert seen == [1, 6, 6, 1, 8]


def test_overlapping_uploads() -> None:
    """Whoever commits an upload is told of the version that it replaces if that is
    the later one."""
    current = StoredObject("p/a~5", 5, '"5"', None)
    commits = [_commit("a", 1, "4"), _commit("a", 1, "6"), _commit("a", 1, "5")]
    outcomes, _ = decide_changes(commits, _free([WriteState(1, 5, current)] * 3))
    assert outcomes == [
        Change(1, -4, outdated="p/a~5"),
        Change(1, 0),
        Change(1, 0, outdated="p/a~6"),
    ]


def test_garbage_adds_up() -> None:
    """What earlier changes of a batch replace or delete counts for those that follow,
    each blob once."""
    seen: list[int] = []
    old = {path: StoredObject(f"p/{path}~0", 10, '"0"', None) for path in "abc"}

    def commit(path: str, version: str) -> Commit:
        plain = _commit(path, 1, version)
        return Commit(
            plain.name, plain.blob, lambda state: seen.append(state.garbage), None
        )

    changes: list[Commit | Deletion] = [
        commit("a", "1"),
        commit("a", "2"),
        Deletion(ObjectName("p", "b"), lambda state: None),
        commit("c", "1"),
    ]
    states: list[WriteState | None] = [
        WriteState(1, 30, old[change.name.path], garbage=5) for change in changes
    ]
    outcomes, _ = decide_changes(changes, _free(states))
    assert seen == [5, 15, 25]
    assert [o.garbage for o in outcomes if isinstance(o, Change)] == [15, 15, 25, 35]

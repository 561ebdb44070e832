"""Keys, shares and the audit log on both databases; exact, however many come at once."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import anyio
import pytest
from limits import parse
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from uuid6 import uuid7

from app.access.keys import is_proved, make_key, prefix_of
from app.access.rates import Rates, Turnstile, storage_for
from app.domain.access import Action, AuditEntry, AuditFilter, Caller, Role, Shares
from app.domain.errors import TooFast
from app.domain.execution import Compilation, Outcome, Status
from app.domain.limits import DEFAULT_LIMITS
from app.storage.engine import Database
from app.storage.errors import StorageError
from app.storage.store import Arrival, Bounds, Store, Wish
from app.storage.usage import Bound, NoShareError

from .samples import HEIR, HOLDER, NOW, OWNER, PROGRAM, SUCCESS, Statements, execution, hold

ROOMY = Bounds(owned=1000, in_all=1000)


def entry(action: Action = Action.READ, **changes: object) -> AuditEntry:
    made = AuditEntry(
        id=uuid7(),
        at=NOW,
        owner=OWNER,
        action=action,
        target="x",
        role=Role.INTERVIEWER,
        key_id=uuid4(),
        subject="ivan",
        session_id="interview-1",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def accept(store: Store, **changes: object) -> bool:
    """Store an execution that waits, unless there is no share for it."""
    one = execution(status=Status.QUEUED, started_at=None, **changes)
    try:
        return await store.enqueue(Arrival(execution=one, program=PROGRAM), ROOMY) is True
    except NoShareError:
        return False


async def test_a_key_is_found_by_how_it_begins_and_proved_by_its_secret(store: Store) -> None:
    made = make_key(owner=OWNER, name="n", role=Role.SERVICE, created_at=NOW, expires_at=None)
    other = make_key(owner=OWNER, name="n", role=Role.SERVICE, created_at=NOW, expires_at=None)
    for each in (made, other):
        await store.registry.add_key(each.key, each.digest)
    whole = made.text.get_secret_value()
    prefix = prefix_of(whole)
    assert prefix == made.key.prefix
    stored = await store.registry.find_key(prefix)
    assert stored is not None
    assert stored.key == made.key
    assert is_proved(stored, whole)
    assert not is_proved(stored, other.text.get_secret_value())
    assert await store.registry.find_key("grk_000000000000") is None
    assert [key.id for key in await store.registry.keys()] == [made.key.id, other.key.id]


async def test_a_key_is_revoked_once_and_for_good(store: Store) -> None:
    made = make_key(owner=OWNER, name="n", role=Role.ADMIN, created_at=NOW, expires_at=None)
    assert not await store.registry.has_keys()
    await store.registry.add_key(made.key, made.digest)
    assert await store.registry.has_keys()
    assert await store.registry.dead_keys([made.key.id], NOW) == frozenset()
    assert await store.registry.revoke_key(made.key.id, NOW)
    assert not await store.registry.revoke_key(made.key.id, NOW + timedelta(days=1))
    key = await store.registry.key(made.key.id)
    assert key is not None
    assert key.revoked_at == NOW
    assert await store.registry.dead_keys([made.key.id, uuid4()], NOW) == {made.key.id}
    assert await store.registry.has_keys()


async def test_an_expired_key_is_dead(store: Store) -> None:
    made = make_key(owner=OWNER, name="n", role=Role.ADMIN, created_at=NOW, expires_at=NOW)
    await store.registry.add_key(made.key, made.digest)
    assert await store.registry.dead_keys([made.key.id], NOW) == {made.key.id}


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET subject = 'nobody'", "DELETE FROM audit_log"]
)
async def test_nobody_changes_the_audit_log(
    store: Store, database: Database, statement: str
) -> None:
    await store.registry.note(entry())
    with pytest.raises((DBAPIError, StorageError), match="append-only"):
        await database.write(lambda connection: connection.execute(text(statement)))
    [kept] = await store.registry.audit(AuditFilter(), before=None, limit=10)
    assert kept.subject == "ivan"


async def test_the_audit_log_is_read_backwards_and_in_part(store: Store) -> None:
    entries = [
        entry(),
        entry(Action.CANCEL, owner="umbrella"),
        entry(subject="ada", session_id=None),
    ]
    await store.registry.note(*entries)
    registry = store.registry
    everything = await registry.audit(AuditFilter(), before=None, limit=10)
    assert list(everything) == entries[::-1]
    assert await registry.audit(AuditFilter(), before=entries[1].id, limit=10) == (entries[0],)
    for wanted, expected in (
        (AuditFilter(owner="umbrella"), [entries[1]]),
        (AuditFilter(action=Action.READ), [entries[2], entries[0]]),
        (AuditFilter(subject="ada"), [entries[2]]),
        (AuditFilter(session_id="interview-1", owner=OWNER), [entries[0]]),
    ):
        assert list(await registry.audit(wanted, before=None, limit=10)) == expected


async def test_an_execution_and_its_entry_are_written_together_or_not_at_all(
    store: Store,
) -> None:
    store.shares = Shares(executions_a_day=1)
    first, second = execution(), execution()
    await store.insert(
        Arrival(execution=first, program=PROGRAM, entry=entry(target="first")), HOLDER
    )
    with pytest.raises(NoShareError):
        await store.insert(
            Arrival(execution=second, program=PROGRAM, entry=entry(target="second")), HOLDER
        )
    assert set(await store.executions(OWNER, [first.id, second.id])) == {first.id}
    kept = await store.registry.audit(AuditFilter(), before=None, limit=10)
    assert [each.target for each in kept] == ["first"]
    assert (await store.registry.spent(OWNER, NOW)).executions == 1


async def test_each_owner_has_a_share_of_each_day(store: Store) -> None:
    store.shares = Shares(executions_a_day=2)
    assert [await accept(store) for _ in range(3)] == [True, True, False]
    assert await accept(store, owner="umbrella")
    assert await accept(store, created_at=NOW + timedelta(days=1))


async def test_processor_time_of_compilers_and_programs_is_spent(store: Store) -> None:
    store.shares = Shares(cpu_seconds_a_day=0.3)
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    compiled = replace(SUCCESS, compilation=Compilation(outcome=SUCCESS))
    await store.finish(hold(one.id), compiled, at=NOW + timedelta(days=1))
    spent = await store.registry.spent(OWNER, NOW)
    assert (spent.executions, spent.cpu_seconds) == (1, 0.25)
    assert await accept(store)
    another = execution()
    await store.insert(Arrival(execution=another, program=PROGRAM), HOLDER)
    await store.finish(hold(another.id), SUCCESS, at=NOW)
    with pytest.raises(NoShareError) as refused:
        await store.insert(Arrival(execution=execution(), program=PROGRAM), HOLDER)
    assert refused.value.bound is Bound.CPU_SECONDS_A_DAY


async def test_an_end_is_spent_once(store: Store) -> None:
    store.shares = Shares()
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    assert await store.finish(hold(one.id), SUCCESS, at=NOW)
    assert not await store.finish(hold(one.id), SUCCESS, at=NOW)
    assert (await store.registry.spent(OWNER, NOW)).cpu_seconds == 0.125


@pytest.mark.parametrize(
    ("status", "tests", "ran", "costs"),
    [
        (Status.CANCELLED, 0, 1.5, 1.5),
        (Status.TIME_LIMIT_EXCEEDED, 0, 1.5, 1.5),
        (Status.CANCELLED, 0, 3600, 4.0),
        (Status.CANCELLED, 3, 9.5, 9.5),
        (Status.TIME_LIMIT_EXCEEDED, 3, 3600, 12.0),
        (Status.INFRASTRUCTURE_ERROR, 0, 1.5, 0),
    ],
    ids=["cancelled", "idle", "after an hour", "in its third test", "all tests", "lost by us"],
)
async def test_what_nobody_measured_costs_as_long_as_it_ran_but_not_what_we_lost(
    store: Store, status: Status, tests: int, ran: float, costs: float
) -> None:
    store.shares = Shares()
    one = execution(limits=replace(DEFAULT_LIMITS, cpu_time=4.0), tests=tests)
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    assert one.started_at
    at = one.started_at + timedelta(seconds=ran)
    assert await store.finish(hold(one.id), Outcome(status=status), at=at)
    assert (await store.registry.spent(OWNER, NOW)).cpu_seconds == pytest.approx(costs)


async def test_what_was_cancelled_and_then_left_behind_costs_as_well(store: Store) -> None:
    store.shares = Shares()
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    await store.cancel(OWNER, one.id, HEIR.cancelled, at=NOW)
    assert one.started_at
    heir = replace(HEIR, at=one.started_at + timedelta(seconds=2))
    [end] = (await store.recover(HOLDER, heir, is_dead=True)).ended
    assert end.status is Status.CANCELLED
    assert (await store.registry.spent(OWNER, NOW)).cpu_seconds == pytest.approx(2)


async def test_ends_of_two_days_and_beginnings_around_midnight_do_not_lock_each_other_up(
    store: Store,
) -> None:
    store.shares = Shares(at_once_of_owner=1000)
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    moments = (midnight - timedelta(milliseconds=1), midnight)
    for _ in range(15):
        for moment in moments:
            one = execution(created_at=moment, started_at=moment)
            await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
            await store.cancel(OWNER, one.id, HEIR.cancelled, at=midnight)
        heir = replace(HEIR, at=midnight + timedelta(seconds=1))
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(partial(accept, store, created_at=midnight))
            tasks.start_soon(partial(store.recover, HOLDER, heir, is_dead=True))
    assert (await store.registry.spent(OWNER, midnight)).cpu_seconds == pytest.approx(15)


async def test_what_is_cancelled_in_the_queue_costs_nothing(store: Store) -> None:
    store.shares = Shares()
    one = execution(status=Status.QUEUED, started_at=None)
    assert await store.enqueue(Arrival(execution=one, program=PROGRAM), ROOMY) is True
    await store.cancel(OWNER, one.id, HEIR.cancelled, at=NOW + timedelta(seconds=9))
    assert (await store.registry.spent(OWNER, NOW)).cpu_seconds == 0


async def test_where_nobody_counts_nothing_is_counted(store: Store) -> None:
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    await store.finish(hold(one.id), SUCCESS, at=NOW)
    assert (await store.registry.spent(OWNER, NOW)).executions == 0


async def test_only_so_many_of_one_person_and_one_owner_at_one_time(store: Store) -> None:
    store.shares = Shares(at_once_of_owner=3, at_once_of_subject=2)
    assert [await accept(store, subject="ada") for _ in range(3)] == [True, True, False]
    assert [await accept(store, subject="bob") for _ in range(2)] == [True, False]
    assert not await accept(store)
    assert await accept(store, owner="umbrella", subject="ada")


async def test_a_wish_that_is_sent_again_is_not_counted_again(store: Store) -> None:
    store.shares = Shares(executions_a_day=1)
    wish = Wish(key="k", fingerprint=b"1", since=NOW - timedelta(hours=24))
    first = execution()
    assert await store.insert(Arrival(execution=first, program=PROGRAM, wish=wish), HOLDER) is None
    earlier = await store.insert(Arrival(execution=execution(), program=PROGRAM, wish=wish), HOLDER)
    assert earlier is not None
    assert earlier.execution.id == first.id
    assert (await store.registry.spent(OWNER, NOW)).executions == 1


@pytest.fixture
async def others(store: Store, url: str) -> AsyncIterator[list[Store]]:
    """Return stores of several processes on one database."""
    stores = [store, *(Store(url) for _ in range(3))]
    yield stores
    for each in stores[1:]:
        await each.close()


@pytest.mark.parametrize(
    "shares",
    [Shares(executions_a_day=10), Shares(at_once_of_owner=10), Shares(at_once_of_subject=10)],
    ids=["a day", "of an owner", "of a person"],
)
async def test_of_many_that_come_at_once_exactly_as_many_are_let_through(
    others: list[Store], shares: Shares
) -> None:
    let_through: list[bool] = []

    async def come(store: Store) -> None:
        let_through.append(await accept(store, subject="ada"))

    for store in others:
        store.shares = shares
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(come, others[number % len(others)])
    assert sum(let_through) == 10
    assert len(let_through) == 40


async def test_midnight_lets_nobody_more_through(others: list[Store]) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    moments = (midnight - timedelta(milliseconds=1), midnight)
    let_through: list[bool] = []

    async def come(store: Store, created_at: datetime) -> None:
        let_through.append(await accept(store, created_at=created_at))

    for store in others:
        store.shares = Shares(at_once_of_owner=10)
    # Both days have begun: a row that is not there locks nobody out.
    assert await accept(others[0], created_at=moments[0])
    assert await accept(others[0], created_at=moments[1])
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(come, others[number % len(others)], moments[number // 2 % 2])
    assert sum(let_through) == 8


async def test_of_many_requests_at_once_exactly_as_many_are_let_through(
    others: list[Store], url: str
) -> None:
    is_shared = url.startswith("postgresql")
    stores = others if is_shared else others[:1]  # SQLite is for one process
    rates = Rates(parse("10/minute"), parse("10/minute"), parse("1000/minute"))
    storages = [storage_for(store.registry, is_shared=is_shared) for store in stores]
    turnstiles = [Turnstile("requests", rates, storage) for storage in storages]
    caller = Caller(owner=OWNER, role=Role.CANDIDATE, subject="ada", session_id="s")
    let_through: list[bool] = []
    waits: list[float] = []

    async def come(turnstile: Turnstile) -> None:
        try:
            await turnstile.count(caller)
        except TooFast as error:
            let_through.append(False)
            waits.append(error.retry_after)
        else:
            let_through.append(True)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(come, turnstiles[number % len(turnstiles)])
    assert sum(let_through) == 10
    assert all(0 < wait <= 60 for wait in waits)
    other = replace(caller, subject="bob")
    assert await turnstiles[0].count(other) is not None
    seen = await turnstiles[-1].look(caller)
    assert seen is not None
    assert (seen.limit, seen.remaining) == (10, 0)


async def test_whoever_is_refused_again_keeps_no_database_busy(
    url: str, store: Store, statements: Statements
) -> None:
    if not url.startswith("postgresql"):
        pytest.skip("on SQLite windows are in memory, as the library has them")
    storage = storage_for(store.registry, is_shared=True)
    turnstile = Turnstile("requests", Rates(of_address=parse("1/minute")), storage)
    await turnstile.count_address("192.0.2.1")
    with pytest.raises(TooFast):
        await turnstile.count_address("192.0.2.1")
    with statements() as sent, pytest.raises(TooFast) as refused:
        await turnstile.count_address("192.0.2.1")
    assert sent == []
    assert 0 < refused.value.retry_after <= 60
    await turnstile.count_address("192.0.2.2")


async def test_a_window_that_is_over_counts_from_the_beginning(url: str, store: Store) -> None:
    if not url.startswith("postgresql"):
        pytest.skip("on SQLite windows are in memory, as the library has them")
    registry = store.registry
    assert (await registry.hit("key", 60, 1))[0] == 1
    assert (await registry.hit("key", 60, 1))[0] == 2
    assert (await registry.hit("old", -1, 1))[0] == 1
    assert (await registry.hit("old", 60, 1))[0] == 1
    assert await registry.window("key") is not None
    assert await registry.window("other") is None
    await registry.forget_windows(-120)  # two minutes from now it will have been over
    assert await registry.window("key") is None

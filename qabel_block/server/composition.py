"""The composition root: makes the parts and joins them.

Nothing else names the concrete classes (of storage and database:
:mod:`qabel_block.factories`), and nobody else has the reactor from
anywhere but the arguments that are given here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen

from qabel_block.accounts.accounting_server import AccountingAuthenticator
from qabel_block.accounts.builtin import BuiltinAuthenticator
from qabel_block.accounts.cache import CachingAuthenticator
from qabel_block.accounts.dummy import DummyAuthenticator
from qabel_block.accounts.failed_logins import FailedLogins, LoginGuard
from qabel_block.accounts.first_user import make_first_user
from qabel_block.caches.memory import MemoryCache
from qabel_block.caches.redis import RedisCache
from qabel_block.config.config import BuiltinAccounts, Config, DummyUser, InProcess
from qabel_block.factories import make_blob_counter, make_database, make_storage
from qabel_block.http.accel_redirect import AccelRedirect
from qabel_block.http.cors import CrossOrigin
from qabel_block.http.downloads import DownloadAnswers
from qabel_block.http.front_ends import FrontEnds
from qabel_block.http.routes import BlockAPI
from qabel_block.http.transport.limits import ConnectionLimiter
from qabel_block.http.transport.site import BlockSite
from qabel_block.http.transport.trusted_proxies import TrustedProxies
from qabel_block.http.websocket.sockets import WebSockets
from qabel_block.interfaces import IAuthenticator, ICache, INotifier, IStorageBackend
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.installation import InstallationRecord
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.repositories import RepositoryTable
from qabel_block.ledger.user_usage import UserUsageTable
from qabel_block.listening.listeners import Inherited, Listeners
from qabel_block.log.access import WriteAccess, write_to_twisted
from qabel_block.log.sinks import DescriptorSink
from qabel_block.log.writer import LineWriter, write_in_threads
from qabel_block.metrics.buffered import BufferedMetrics
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.instrument import Instrumentation
from qabel_block.metrics.measured import MeasuredInstrumentation
from qabel_block.metrics.sampler import Sampler
from qabel_block.metrics.users import UserSampler
from qabel_block.names import Versions
from qabel_block.operations.collector import Collector
from qabel_block.operations.download import Downloads
from qabel_block.operations.identity import IdentityCheck
from qabel_block.operations.installation import installation_id
from qabel_block.operations.objects import Operations
from qabel_block.operations.readiness import Dependency, Readiness
from qabel_block.operations.repositories import Repositories
from qabel_block.operations.traffic import TrafficMeter
from qabel_block.operations.upload import Uploads
from qabel_block.operations.usage import UsageEvent, no_usage_log, usage_log
from qabel_block.push.hub import Hub
from qabel_block.push.memory import MemoryNotifier
from qabel_block.push.redis import RedisNotifier
from qabel_block.restic.routes import ResticAPI
from qabel_block.server.directory_lock import DirectoryLock
from qabel_block.server.rlimits import raise_nofile_limit
from qabel_block.storage.identified import IdentifiedStorage
from qabel_block.storage.local.layout import file_of
from qabel_block.storage.timeouts import TimeLimitedStorage
from qabel_block.util.keyed_lock import KeyedLock
from qabel_block.util.redis.link import Identity
from qabel_block.util.threads import ThreadPool


@frozen
class ServerParts:
    """What has to be started and stopped.

    :ivar directory_lock: to be held before anything else; there with ``--standalone``.
    :ivar threads: for storage, which may hang.
    :ivar hashing: for what only computes.
    :ivar prepare: to be called before anything else; it may block.
    :ivar make_first_user: to be called until it does not raise ``Unavailable``.
    :ivar sampler: there if metrics are wanted, and so are ``buffered``.
    """

    prepare: Callable[[], None]
    directory_lock: DirectoryLock | None
    make_first_user: Callable[[], Coroutine[Any, Any, None]]
    threads: ThreadPool
    hashing: ThreadPool
    database: IDatabase
    storage: IStorageBackend
    cache: ICache
    notifier: INotifier
    hub: Hub
    sockets: WebSockets
    authenticator: IAuthenticator
    traffic: TrafficMeter
    collector: Collector
    readiness: Readiness
    site: BlockSite
    listeners: Listeners
    sampler: Sampler | None
    user_sampler: UserSampler | None
    buffered: BufferedMetrics | None


def compose(
    config: Config,
    reactor: Any,
    inherited: Inherited | None = None,
    metrics: Metrics | None = None,
    write_access: WriteAccess = write_to_twisted,
) -> ServerParts:
    """Make the parts that ``config`` describes. Nothing is started yet.

    :param inherited: sockets to use instead of those of ``config.endpoints``.
    :param metrics: if they are given, everything is measured.
    :param write_access: takes note of each request.
    :raises CannotListen: if an endpoint is wrongly described.
    """
    instrumentation = (
        Instrumentation()
        if metrics is None
        else MeasuredInstrumentation(metrics, time.monotonic)
    )
    threads = ThreadPool(
        reactor, config.transfers, "transfers", instrumentation.thread_wait()
    )
    # Not the same: threads that hang in a storage would keep uploads from being hashed.
    hashing = ThreadPool(reactor, os.cpu_count() or 1, "hashing")
    database, prepare = make_database(
        config.ledger, reactor, waited=instrumentation.database_wait()
    )
    storage = _storage(config, reactor, threads, instrumentation, database)
    ledger = Ledger(
        database,
        reactor.seconds,
        lambda function: reactor.callLater(0, function),
        instrumentation.ledger(),
    )

    def connection_changed() -> None:
        readiness.recheck()

    identity = installation_id(InstallationRecord(database), reactor)
    shared = (identity, connection_changed)
    cache = instrumentation.cache(make_cache(config, reactor, *shared))
    notifier = instrumentation.notifier(make_notifier(config, reactor, *shared))
    now = time.time
    accounts = AccountTable(
        database, reactor.seconds, lambda function: reactor.callLater(0, function)
    )
    authenticator = _authenticator(config, reactor, cache, accounts, instrumentation)
    record_usage = instrumentation.usage(
        _usage_log(reactor) if config.usage_log else no_usage_log
    )
    traffic = TrafficMeter(ledger.add_traffic, reactor, now)
    hub = Hub(notifier)
    locks = KeyedLock(reactor)
    collector = Collector(ledger, storage, reactor, config.garbage_grace)
    operations = Operations(
        ledger, locks, hub.publish, record_usage, collector.schedule_collect_owner
    )
    downloads = Downloads(
        ledger,
        storage,
        authenticator,
        traffic,
        now,
        record_usage,
        instrumentation.downloads(),
        instrumentation.lost_blobs(),
    )
    uploads = Uploads(
        ledger,
        storage,
        collector,
        Versions(now),
        locks,
        hashing,
        config.max_body_size,
        hub.publish,
        record_usage,
        instrumentation.uploads(),
    )
    readiness = Readiness(
        {
            "database": Dependency(database.check),
            "storage": Dependency(storage.check),
            "cache": Dependency(cache.check, required=False),
            "push": Dependency(notifier.check, required=False),
            "accounts": Dependency(authenticator.check, required=False, foreign=True),
        },
        reactor,
    )
    sockets = WebSockets(hub, reactor, instrumentation.sockets())
    logins = LoginGuard(authenticator, FailedLogins(time.monotonic, cache))
    api = BlockAPI(
        readiness,
        logins,
        operations,
        uploads,
        DownloadAnswers(downloads, reactor, _accel_redirect(config)),
        sockets,
    )
    repositories = Repositories(
        RepositoryTable(database), ledger, uploads, record_usage
    )
    # Not left to nginx, which would be told where a repository is.
    restic = ResticAPI(
        logins, repositories, DownloadAnswers(downloads, reactor), reactor
    )
    counted = inherited.gate.count if inherited and inherited.gate else _no_balancing
    sampler = user_sampler = None
    if metrics is not None:
        sampler = Sampler(metrics, readiness, ledger, notifier, reactor)
        if config.metrics_per_user:
            usage = UserUsageTable(database)
            user_sampler = UserSampler(metrics, usage, authenticator, reactor)
    proxies = TrustedProxies(config.trusted_proxies)
    site = BlockSite(
        FrontEnds(api.resource(), {"restic": restic.resource()}),
        reactor,
        write_access,
        counted,
        proxies,
        instrumentation.requests(),
        config.max_body_size,
    )
    site.cross_origin = CrossOrigin(config.cors_origins)
    site.connection_limiter = ConnectionLimiter(
        raise_nofile_limit(config.max_connections),
        config.max_connections_per_address,
        reactor.seconds,
    )
    return ServerParts(
        prepare,
        _directory_lock(config),
        _first_user(config, accounts),
        threads,
        hashing,
        database,
        storage,
        cache,
        notifier,
        hub,
        sockets,
        authenticator,
        traffic,
        collector,
        readiness,
        site,
        Listeners(reactor, config.endpoints, site, inherited),
        sampler,
        user_sampler,
        None if metrics is None else metrics.buffered,
    )


def _directory_lock(config: Config) -> DirectoryLock | None:
    if config.standalone is None:
        return None
    return DirectoryLock(config.standalone)


def _accel_redirect(config: Config) -> AccelRedirect | None:
    prefix = config.x_accel_redirect
    if prefix is None:
        return None
    return AccelRedirect(lambda key: "/".join((prefix, *file_of(key))))


def _usage_log(reactor: Any) -> Callable[[UsageEvent], None]:
    assert sys.__stdout__ is not None  # what twist hides behind its log
    sink = DescriptorSink(sys.__stdout__.fileno())
    writer = LineWriter(sink, lambda count: json.dumps({"dropped": count}) + "\n")
    write_in_threads([writer], reactor)
    return usage_log(writer.write)


def _no_balancing(_connections: int) -> None:
    """Share with nobody."""


def _storage(
    config: Config,
    reactor: Any,
    threads: ThreadPool,
    instrumentation: Instrumentation,
    database: IDatabase,
) -> IStorageBackend:
    storage = make_storage(
        config.storage,
        config.transfers,
        config.max_body_size,
        threads,
        reactor,
        instrumentation.s3(),
    )
    storage = TimeLimitedStorage(storage, reactor)
    identity = IdentityCheck(
        InstallationRecord(database),
        storage,
        make_blob_counter(config.storage, config.transfers, threads, reactor),
    )
    return instrumentation.storage(IdentifiedStorage(storage, identity.bind, reactor))


def make_cache(
    config: Config, reactor: Any, identity: Identity, changed: Callable[[], None]
) -> ICache:
    """Return the cache, not started.

    :param changed: told when a connection is made or lost.
    """
    if isinstance(config.cache, InProcess):
        return MemoryCache(reactor)
    return RedisCache(reactor, config.cache, identity, changed)


def make_notifier(
    config: Config, reactor: Any, identity: Identity, changed: Callable[[], None]
) -> INotifier:
    """Return what publishes events, not started.

    :param changed: told when a connection is made or lost.
    """
    if isinstance(config.cache, InProcess):
        return MemoryNotifier()
    return RedisNotifier(reactor, config.cache, identity, changed)


def _first_user(
    config: Config, accounts: AccountTable
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return what makes the first user, if one is wanted and there is none."""
    chosen = config.accounts

    async def make() -> None:
        if isinstance(chosen, BuiltinAccounts):
            await make_first_user(accounts, chosen.first_user, chosen.first_token)

    return make


def _authenticator(
    config: Config,
    reactor: Any,
    cache: ICache,
    accounts: AccountTable,
    instrumentation: Instrumentation,
) -> IAuthenticator:
    chosen = config.accounts
    if isinstance(chosen, BuiltinAccounts):
        return instrumentation.authenticator(
            BuiltinAuthenticator(accounts, reactor.seconds, time.time)
        )
    if isinstance(chosen, DummyUser):
        return instrumentation.authenticator(DummyAuthenticator(chosen.token))
    server = instrumentation.authenticator(
        AccountingAuthenticator(reactor, chosen.url, chosen.secret)
    )
    return CachingAuthenticator(
        server, cache, chosen.secret, reactor, time.time, instrumentation.account_hit()
    )

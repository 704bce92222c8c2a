"""etcd's own users: tokens that go stale, wrong passwords, missing permissions."""

import threading
from collections.abc import Callable, Iterator

import pytest

from etcdcompute.errors import AccessDenied, EtcdComputeError, InvalidInput
from etcdcompute.kv.client import Client, Credentials
from etcdcompute.kv.records import Committed, Write
from tests.functional.etcd_server import EtcdServer, encoded
from tests.functional.kv.conftest import Watcher

Watching = Callable[..., Watcher]
PREFIX = "/etcdcompute/"
ALICE = Credentials("alice", "secret")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """An etcd where alice may read and write below one prefix."""
    with EtcdServer(tmp_path_factory.mktemp("guarded"), arguments=["--bcrypt-cost=4"]) as server:
        for user, role in (("root", "root"), ("alice", "daemons")):
            server.post("/v3/auth/user/add", {"name": user, "password": "secret"})
            server.post("/v3/auth/role/add", {"name": role})
            server.post("/v3/auth/user/grant", {"user": user, "role": role})
        permission = {"permType": "READWRITE", "key": encoded(PREFIX), "range_end": encoded("/etcdcompute0")}
        server.post("/v3/auth/role/grant", {"name": "daemons", "perm": permission})
        server.post("/v3/auth/enable", {})
        yield server


def test_all_calls_carry_the_token(guarded: EtcdServer, watching: Watching) -> None:
    with Client([guarded.endpoint], credentials=ALICE) as client:
        watcher = watching(client, PREFIX)
        watcher.until(bool)
        lease = client.lease(5, on_lost=lambda: None)
        done = client.commit([], [Write(f"{PREFIX}a", b"1", lease.id)])
        assert client.get(f"{PREFIX}a") is not None
        assert client.current_revision() >= done.revision
        watcher.until(lambda events: events[-1].revision >= done.revision)
        lease.revoke()
        watcher.close()


def test_a_read_that_was_begun_with_a_stale_token_is_done_with_another(guarded: EtcdServer) -> None:
    with Client([guarded.endpoint], credentials=ALICE) as client:
        done = client.commit([], [Write(f"{PREFIX}a", b"2")])
        # A new password, be it the old one, ends a user's tokens and, unlike a restart, leaves the connection.
        root = guarded.post("/v3/auth/authenticate", {"name": "root", "password": "secret"})["token"]
        guarded.post("/v3/auth/user/changepw", {"name": "alice", "password": "secret"}, token=root)
        told = threading.Event()
        # While etcd stands still only what was never sent has nothing to wait for.
        guarded.freeze()
        begun = client.begin_get(f"{PREFIX}a", told.set)
        sent = not told.is_set()
        guarded.thaw()
        assert sent
        assert told.wait(10)
        item = begun.result()
        assert item is not None
        assert item.mod_revision == done.revision


def test_a_stale_token_is_renewed_without_anybody_noticing(guarded: EtcdServer, watching: Watching) -> None:
    with Client([guarded.endpoint], credentials=ALICE) as client:
        lost = threading.Event()
        lease = client.lease(6, on_lost=lost.set)
        watcher = watching(client, PREFIX)
        watcher.until(bool)
        # Tokens live in the server's memory: after a restart it knows none of them.
        guarded.restart(kill=True)
        assert isinstance(client.commit([], [Write(f"{PREFIX}a", b"2")]), Committed)
        guarded.restart(kill=True)
        revision = client.current_revision()
        done = client.commit([], [Write(f"{PREFIX}b", b"3")])
        assert done.revision > revision
        watcher.until(lambda events: events[-1].revision >= done.revision)
        assert not lost.wait(3)
        lease.revoke()
        watcher.close()


def test_many_threads_with_a_stale_token_are_not_in_each_others_way(guarded: EtcdServer) -> None:
    with Client([guarded.endpoint], credentials=ALICE) as client:
        client.get(f"{PREFIX}a")
        guarded.restart()
        errors = []

        def read() -> None:
            try:
                for _ in range(5):
                    client.get(f"{PREFIX}a")
            except EtcdComputeError as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


def test_a_wrong_password_or_no_user_is_refused(guarded: EtcdServer) -> None:
    with Client([guarded.endpoint], credentials=Credentials("alice", "wrong")) as client:
        with pytest.raises(AccessDenied, match="invalid user ID or password"):
            client.get(f"{PREFIX}a")
        with pytest.raises(AccessDenied):
            next(client.watch(PREFIX))
    with Client([guarded.endpoint]) as client, pytest.raises(AccessDenied, match="wants a user"):
        client.commit([], [Write(f"{PREFIX}a", b"")])


def test_what_is_not_permitted_is_refused(guarded: EtcdServer) -> None:
    with Client([guarded.endpoint], credentials=ALICE) as client:
        with pytest.raises(AccessDenied, match="permission denied"):
            client.get("/private")
        with pytest.raises(AccessDenied, match="permission denied"):
            client.commit([], [Write("/private", b"")])
        with pytest.raises(AccessDenied):
            next(client.watch("/private"))
        with pytest.raises(AccessDenied):
            # Without a listing it is etcd's cancellation of the watch itself that has to be understood.
            next(client.watch("/private", from_revision=1))


def test_credentials_for_an_etcd_without_users_do_no_harm(etcd: EtcdServer) -> None:
    with Client([etcd.endpoint], credentials=ALICE) as client:
        assert client.get("/t/a") is None


def test_a_password_is_not_sent_in_the_clear_to_another_machine() -> None:
    with pytest.raises(InvalidInput, match=r"not sent unencrypted to http://192\.0\.2\.1:2379"):
        Client(["http://192.0.2.1:2379"], credentials=ALICE)
    Client(["http://192.0.2.1:2379"], credentials=ALICE, allow_plaintext_password=True).close()
    Client(["https://192.0.2.1:2379", "http://[::1]:2379"], credentials=ALICE).close()
    assert "secret" not in repr(ALICE)

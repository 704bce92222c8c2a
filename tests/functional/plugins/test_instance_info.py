"""The module `instance_info`."""

from etcdcompute.model import Phase, keys
from tests.functional.plugins.playbook import Playbooks, failed
from tests.functional.plugins.store import HOST, Store

UUIDS = [f"{number}f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11" for number in range(4)]


def test_instances_are_listed_with_status_and_filtered(playbooks: Playbooks, store: Store) -> None:
    web = store.put_instance("web", UUIDS[0], user_data="password: secret")
    db = store.put_instance("db", UUIDS[1])
    store.put_instance("new", UUIDS[2])
    store.raw(keys.instance(UUIDS[3]), {"uuid": UUIDS[3]})
    store.etcd.put(keys.instance_name("broken"), UUIDS[3])
    store.report(web, Phase.RUNNING, address="192.168.122.17", host=True)
    store.report(db, Phase.PENDING, code="no_host", message="nothing fits")
    store.etcd.put(keys.alive(HOST), "{}")
    results = playbooks.run(
        {"instance_info": {}},
        {"instance_info": {"name": "web"}},
        {"instance_info": {"uuid": UUIDS[1]}},
        {"instance_info": {"name": "nobody"}},
        {"instance_info": {"phase": ["pending", "error"]}},
        {"instance_info": {"host": "etcd2"}},
    )
    assert failed(results) == []
    assert not any(each["changed"] for each in results)
    names = [[each["name"] for each in result["instances"]] for result in results]
    assert names == [["broken", "db", "new", "web"], ["web"], ["db"], [], ["db"], ["web"]]
    everything = {each["name"]: each for each in results[0]["instances"]}
    assert everything["web"]["host_alive"] is True
    assert everything["web"]["status"]["addresses"][0]["ip"] == "192.168.122.17"
    assert everything["db"]["host_alive"] is None
    assert everything["new"]["status"] is None
    assert everything["broken"]["problem"] == "its field name is missing"
    assert everything["broken"]["instance"] is None
    assert "secret" not in str(results)


def test_a_long_list_is_read_page_by_page(playbooks: Playbooks, store: Store) -> None:
    uuids = [f"{number:08x}-8a53-4c62-9d5c-0f6a7a3f1b11" for number in range(501)]
    for number, uuid in enumerate(uuids):
        store.put_instance(f"vm{number:04d}", uuid)
    (result,) = playbooks.run({"instance_info": {}})
    assert [each["uuid"] for each in result["instances"]] == uuids

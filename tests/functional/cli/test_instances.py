"""`etcdcompute instance` against real etcd, placement and scheduler; the test plays the agent."""

import json
import threading
import uuid
from pathlib import Path

import yaml

from etcdcompute.kv.records import Remove
from etcdcompute.model import Address, Phase, PowerState, keys
from etcdcompute.operations import create_instance
from tests.functional.scheduler.cloud import Cloud, new_instance
from tests.functional.waiting import eventually

OPTIONS = ("--image", "/x.qcow2", "--sha256", "0" * 64, "--vcpus", "1", "--memory", "256", "--disk", "1")


def test_create_list_show_and_delete(cloud: Cloud, tmp_path: Path) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    key = tmp_path / "id.pub"
    key.write_text("# mine\nssh-ed25519 AAAAC3Nz me@here\n")
    user_data = tmp_path / "user-data"
    user_data.write_text("#cloud-config\n")
    ended = cloud.run(
        *("instance", "create", "web-1", *OPTIONS, "--no-wait", "--ssh-key", str(key), "--user-data", str(user_data)),
        *("--network", "default", "--network", "bridge:br0", "--forbidden-trait", "COMPUTE_NODE"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    created = ended.stdout.strip()
    instance = cloud.instance(created)
    assert instance is not None
    assert instance.ssh_keys == ("ssh-ed25519 AAAAC3Nz me@here",)
    assert instance.user_data == "#cloud-config\n"
    assert [(each.network, each.bridge) for each in instance.networks] == [("default", None), (None, "br0")]
    assert instance.forbidden_traits == ("COMPUTE_NODE",)
    cloud.wait_assigned(created)
    address = Address(mac="52:54:00:00:00:01", ip="192.0.2.77", network="default")
    cloud.report(created, host, phase=Phase.RUNNING, observed_generation=1, addresses=(address,))

    table = cloud.run("instance", "list")
    assert table.stdout.splitlines()[0].split() == ["NAME", "STATE", "HOST", "ADDRESSES", "MESSAGE"]
    assert table.stdout.splitlines()[2].split() == ["web-1", "running", host, "192.0.2.77", "-"]
    (row,) = json.loads(cloud.run("instance", "list", "--format", "json").stdout)
    assert (row["uuid"], row["state"], row["host_alive"]) == (created, "running", True)
    assert row["addresses"] == ["192.0.2.77"]
    assert row["instance"]["resources"] == {"VCPU": 1, "MEMORY_MB": 256, "DISK_GB": 1}
    shown = yaml.safe_load(cloud.run("instance", "show", created, "--format", "yaml").stdout)
    assert shown["status"]["phase"] == "running"
    assert "192.0.2.77" in cloud.run("instance", "show", "web-1").stdout

    cloud.set_alive(host, alive=False)
    assert f"{host} (host down)" in cloud.run("instance", "list").stdout

    assert cloud.run("instance", "delete", "web-1", "--no-wait").returncode == 0
    cloud.wait_assigned(created, generation=2)
    undone = threading.Timer(3, cloud.undo, (host, instance))
    undone.start()
    ended = cloud.run("instance", "delete", "web-1")
    undone.join()
    assert (ended.returncode, ended.stderr) == (0, "web-1: is gone\n")
    ended = cloud.run("instance", "delete", "web-1", created)
    assert (ended.returncode, ended.stderr) == (0, f"web-1: is not there\n{created}: is not there\n")
    assert cloud.run("instance", "show", "web-1").returncode == 3


def test_create_waits_and_tells_what_happens(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()

    def created() -> str:
        listed = eventually(lambda: cloud.store.read_prefix(keys.ASSIGNMENTS).items, "an assignment")
        return keys.last_segment(listed[0].key)

    def begin() -> None:
        cloud.report(created(), host, phase=Phase.BUILDING, observed_generation=1, message="fetching the image")

    agent = threading.Thread(target=begin, name="agent")
    agent.start()
    said: list[str] = []

    def told(line: str) -> None:
        said.append(line)
        # The rest happens when the command line has told of the beginning.
        if line.startswith("web-1: building"):
            cloud.report(created(), host, phase=Phase.RUNNING, observed_generation=1)

    status = cloud.run_telling(told, "instance", "create", "web-1", *OPTIONS, "--timeout", "20")
    agent.join()
    assert status == 0, said
    assert said[-2:] == [f"web-1: building on {host}, fetching the image", f"web-1: running on {host}"]


def test_an_error_while_waiting_is_the_status_own_sentence(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()

    def play_agent() -> None:
        listed = eventually(lambda: cloud.store.read_prefix(keys.ASSIGNMENTS).items, "an assignment")
        created = keys.last_segment(listed[0].key)
        cloud.report(created, host, phase=Phase.ERROR, observed_generation=1, code="image", message="the sum is wrong")

    agent = threading.Thread(target=play_agent, name="agent")
    agent.start()
    ended = cloud.run("instance", "create", "web-1", *OPTIONS, "--timeout", "20")
    agent.join()
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "etcdcompute: instance web-1: the sum is wrong"


def test_what_does_not_happen_in_time_says_how_far_it_came(cloud: Cloud) -> None:
    ended = cloud.run("instance", "create", "lonely", *OPTIONS, "--timeout", "0.5")
    assert ended.returncode == 7
    assert "is not running after 0.5 s: it has no status yet; is a scheduler running?" in ended.stderr
    cloud.start_scheduler()
    # Who leads has yet to look at what there is.
    eventually(lambda: "no host fits" in cloud.run("instance", "list").stdout, "the scheduler has looked at lonely")
    ended = cloud.run("instance", "create", "web-1", *OPTIONS, "--timeout", "5")
    assert ended.returncode == 7
    assert "web-1 is not running after 5 s: pending, no host fits VCPU:1" in ended.stderr
    assert "web-1: pending, looking for a host" in ended.stderr
    ended = cloud.run("instance", "delete", "web-1", "lonely")
    assert ended.returncode == 0, ended.stderr


def test_a_taken_name_is_refused_at_once(cloud: Cloud) -> None:
    first = cloud.run("instance", "create", "web-1", *OPTIONS, "--no-wait").stdout.strip()
    ended = cloud.run("instance", "create", "web-1", *OPTIONS, "--no-wait")
    assert ended.returncode == 4
    assert ended.stderr == (
        f"etcdcompute: there is an instance named web-1 already (uuid {first}); "
        "choose another name, or delete it first\n"
    )
    cloud.run("instance", "delete", "web-1", "--no-wait")
    ended = cloud.run("instance", "create", "web-1", *OPTIONS, "--no-wait")
    assert "it is being deleted: wait until it is gone" in ended.stderr


def test_a_name_that_was_left_behind_is_free(cloud: Cloud) -> None:
    first = cloud.run("instance", "create", "web-1", *OPTIONS, "--no-wait").stdout.strip()
    cloud.store.commit([], [Remove(keys.instance(first))])
    second = cloud.run("instance", "create", "web-1", *OPTIONS, "--no-wait")
    assert second.returncode == 0, second.stderr
    name = cloud.store.get(keys.instance_name("web-1"))
    assert name is not None
    assert name.value.decode() == second.stdout.strip()


def test_two_creates_at_once_of_one_name_make_one(cloud: Cloud) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: codes.append(cloud.run("instance", "create", "web-1", *OPTIONS, "--no-wait").returncode)
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0, 4, 4]
    assert len(cloud.store.read_prefix(keys.INSTANCES).items) == 1


def test_a_spec_file(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    spec = {
        "name": "from-file",
        "image": {"url": "/x", "sha256": "0" * 64},
        "resources": {"VCPU": 1, "MEMORY_MB": 256, "DISK_GB": 1},
        "power_state": "stopped",
    }
    path.write_text(yaml.safe_dump(spec))
    ended = cloud.run("instance", "create", "--file", str(path), "--no-wait")
    instance = cloud.instance(ended.stdout.strip())
    assert instance is not None
    assert (instance.name, instance.power_state) == ("from-file", PowerState.STOPPED)
    path.write_text(yaml.safe_dump(spec | {"flavour": "big"}))
    ended = cloud.run("instance", "create", "--file", str(path))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"etcdcompute: {path}: unknown key flavour; known are ")
    assert cloud.run("instance", "create", "--file", str(path), "--vcpus", "1").returncode == 2


def test_start_and_stop(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)
    reported = threading.Timer(
        0.5,
        lambda: cloud.report(instance.uuid, host, phase=Phase.STOPPED, observed_generation=2),
    )
    reported.start()
    ended = cloud.run("instance", "stop", "web-1", "--timeout", "20")
    reported.join()
    assert ended.returncode == 0, ended.stderr
    ended = cloud.run("instance", "stop", "web-1")
    assert "stopped is what it was asked to be already" in ended.stderr
    assert cloud.run("instance", "start", "web-1", "--no-wait").returncode == 0
    cloud.wait_assigned(instance.uuid, generation=3)
    assert cloud.run("instance", "start", "nobody").returncode == 3


def test_a_document_that_does_not_parse_is_listed_and_can_be_deleted(cloud: Cloud) -> None:
    cloud.start_scheduler()
    broken = str(uuid.uuid4())
    cloud.write(keys.instance(broken), b'{"schema": 7}')
    cloud.wait_status(broken, lambda status: status.phase is Phase.ERROR)
    listed = cloud.run("instance", "list").stdout
    assert f"{broken}  error" in listed
    assert "schema version 7 is not known here" in listed
    assert "cannot be changed, only deleted" in cloud.run("instance", "stop", broken).stderr
    ended = cloud.run("instance", "delete", broken, "--timeout", "20")
    assert ended.returncode == 0, ended.stderr
    assert cloud.store.get(keys.instance(broken)) is None

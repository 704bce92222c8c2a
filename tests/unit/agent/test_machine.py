"""The machine, and the machine in Placement's words."""

from pathlib import Path

import os_traits

from etcdcompute.agent.machine import Machine, own_address, parse_cpu_flags, parse_memory_mib, read_machine
from etcdcompute.agent.traits import (
    DISABLED_TRAIT,
    compute_inventories,
    compute_traits,
    merge_inventories,
    merge_traits,
)
from etcdcompute.placement.client import Inventory

CPUINFO = "processor\t: 0\nflags\t\t: fpu mmx sse sse2 pni sse4_1 avx avx512f aes svm hypervisor\n\nprocessor\t: 1\n"


def test_what_the_kernel_says_is_understood(tmp_path: Path) -> None:
    assert parse_memory_mib("MemTotal:       16384000 kB\nMemFree: 1 kB\n") == 16000
    assert "aes" in parse_cpu_flags(CPUINFO)
    assert parse_cpu_flags("") == frozenset()
    machine = read_machine(tmp_path)
    assert machine.vcpu >= 1
    assert machine.memory_mib > 0
    assert own_address("http://127.0.0.1:2379") == "127.0.0.1"


def test_flags_become_traits_of_what_guests_get() -> None:
    flags = parse_cpu_flags(CPUINFO)
    kvm = compute_traits(arch="x86_64", virt_type="kvm", cpu_flags=flags, disabled=False)
    assert {"HW_CPU_X86_SSE3", "HW_CPU_X86_SSE41", "HW_CPU_X86_AESNI", "HW_CPU_X86_AVX512F"} <= kvm
    assert {"HW_ARCH_X86_64", "CUSTOM_VIRT_TYPE_KVM"} <= kvm
    assert DISABLED_TRAIT not in kvm
    emulated = compute_traits(arch="x86_64", virt_type="qemu", cpu_flags=flags, disabled=True)
    assert {"HW_CPU_X86_SSE3", "CUSTOM_VIRT_TYPE_QEMU", DISABLED_TRAIT} <= emulated
    assert "HW_CPU_X86_AVX512F" not in emulated
    known = set(os_traits.get_traits())
    assert all(name in known for name in kvm | emulated if not name.startswith("CUSTOM_"))


def test_an_operators_traits_are_left_alone() -> None:
    own = frozenset({"COMPUTE_NODE"})
    present = frozenset({"CUSTOM_RACK_7", "HW_NIC_SRIOV", DISABLED_TRAIT, "HW_CPU_X86_VMX"})
    assert merge_traits(present, own) == {"CUSTOM_RACK_7", "HW_NIC_SRIOV", "COMPUTE_NODE"}


def test_inventories_with_reserves_and_ratios() -> None:
    own = compute_inventories(
        Machine(vcpu=8, memory_mib=16000, disk_gib=100),
        reserved={"MEMORY_MB": 512, "DISK_GB": 1000},
        allocation_ratios={"VCPU": 4.0},
    )
    assert own["VCPU"] == Inventory(total=8, max_unit=8, allocation_ratio=4.0)
    assert own["MEMORY_MB"] == Inventory(total=16000, max_unit=16000, reserved=512)
    assert own["DISK_GB"].reserved == 100
    present = {"CUSTOM_GPU": Inventory(total=2), "VCPU": Inventory(total=4)}
    merged = merge_inventories(present, own)
    assert merged == {"CUSTOM_GPU": Inventory(total=2), **own}
    assert merge_inventories(merged, own) == merged

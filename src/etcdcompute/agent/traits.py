"""What the machine has, in Placement's words: inventories and traits. Pure.

The agent owns certain classes and traits of its provider and keeps those as they should be; whatever else an operator
gave the provider (custom resource classes and traits) is left alone.
"""

from collections.abc import Iterable, Mapping

import os_traits

from etcdcompute.agent.machine import Machine
from etcdcompute.placement.client import Inventory

OWNED_TRAIT_PREFIXES = ("HW_ARCH_", "HW_CPU_", "COMPUTE_", "CUSTOM_VIRT_TYPE_")
DISABLED_TRAIT = "COMPUTE_STATUS_DISABLED"

_CPU_PREFIX = "HW_CPU_X86_"
# Flags that the kernel and os-traits name differently; the rest differ by underscores and case at most.
_TRAIT_BY_FLAG = {
    "pni": "SSE3",
    "sse4_1": "SSE41",
    "sse4_2": "SSE42",
    "aes": "AESNI",
    "pclmulqdq": "CLMUL",
    "fma": "FMA3",
    "bmi1": "BMI",
    "sha_ni": "SHA",
    "rtm": "TSX",
    "avx512_vnni": "AVX512VNNI",
    "avx512_vbmi2": "AVX512VBMI2",
    "avx512_bitalg": "AVX512BITALG",
    "avx512_vpopcntdq": "AVX512VPOPCNTDQ",
    "vaes": "AVX512VAES",
    "gfni": "AVX512GFNI",
    "vpclmulqdq": "AVX512VPCLMULQDQ",
    "3dnow": "3DNOW",
    "svm": "AMD_SVM",
    "vmx": "INTEL_VMX",
}
# What software emulation gives a guest whatever the machine has; a guest that needs more must not be sent here.
_EMULATED = frozenset(
    {"MMX", "SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "SSE42", "SSE4A", "AESNI", "CLMUL", "AVX", "AVX2", "F16C", "FMA3"}
    | {"BMI", "BMI2"}
)
_COMMON = (
    "COMPUTE_NODE",
    "COMPUTE_IMAGE_TYPE_QCOW2",
    "COMPUTE_IMAGE_TYPE_RAW",
    "COMPUTE_NET_VIF_MODEL_VIRTIO",
    "COMPUTE_STORAGE_BUS_VIRTIO",
    "COMPUTE_FIRMWARE_BIOS",
    "COMPUTE_GRAPHICS_MODEL_NONE",
)
_KNOWN = frozenset(os_traits.get_traits())


def compute_traits(*, arch: str, virt_type: str, cpu_flags: Iterable[str], disabled: bool) -> frozenset[str]:
    """Return the traits of a host that the agent owns; `disabled` keeps new instances away."""
    names = {_TRAIT_BY_FLAG.get(flag, flag.replace("_", "").upper()) for flag in cpu_flags}
    if virt_type != "kvm":
        names &= _EMULATED
    traits = {f"{_CPU_PREFIX}{name}" for name in names}
    traits |= {f"HW_ARCH_{arch.upper()}", f"COMPUTE_ARCH_{arch.upper()}", *_COMMON}
    if disabled:
        traits.add(DISABLED_TRAIT)
    return frozenset(traits & _KNOWN) | {custom_trait(virt_type)}


def custom_trait(virt_type: str) -> str:
    """Return the trait that says how guests run here: CUSTOM_VIRT_TYPE_KVM or CUSTOM_VIRT_TYPE_QEMU."""
    return f"CUSTOM_VIRT_TYPE_{virt_type.upper()}"


def merge_traits(present: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """Return the provider's traits with the agent's in place of those it owns."""
    return frozenset(name for name in present if not name.startswith(OWNED_TRAIT_PREFIXES)) | own


def compute_inventories(
    machine: Machine, *, reserved: Mapping[str, int], allocation_ratios: Mapping[str, float]
) -> dict[str, Inventory]:
    """Return the inventories that the agent owns: VCPU (count), MEMORY_MB (MiB) and DISK_GB (GiB)."""
    totals = {"VCPU": machine.vcpu, "MEMORY_MB": machine.memory_mib, "DISK_GB": machine.disk_gib}
    return {
        name: Inventory(
            total=total,
            reserved=min(reserved.get(name, 0), total),
            max_unit=total,
            allocation_ratio=allocation_ratios.get(name, 1.0),
        )
        for name, total in totals.items()
        if total > 0
    }


def merge_inventories(present: Mapping[str, Inventory], own: Mapping[str, Inventory]) -> dict[str, Inventory]:
    """Return the provider's inventories with the agent's in place of those it owns."""
    owned = ("VCPU", "MEMORY_MB", "DISK_GB")
    return {name: each for name, each in present.items() if name not in owned} | dict(own)

"""Builds a guest image small enough for software emulation, from Debian's packages only.

    python3 -m guest build

Needs the standard library, apt and dpkg, no root and no loop device: every file system is written by programs that
work on plain files, and those programs come out of the same packages. `docs/guest-image.md` describes the result.

    packages  which packages, which versions, fetched and unpacked
    elf       the shared libraries a program needs
    tree      the files of a file system, as values
    recipe    what goes into the initial RAM disk and into the root file system
    cpio, ext4, fat, disk, qcow2    trees to bytes
    build     the cache, and the steps in order
"""

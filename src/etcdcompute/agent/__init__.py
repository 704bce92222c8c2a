"""The agent of a compute host: brings about what is assigned to it, with libvirt.

service        run_agent: the wiring and the threads
identity       who this host is: its uuid, the one agent's lock, the store it knows
paths          where everything lies in the state directory
files          files that are there whole or not at all, also after a power cut
machine        what the machine has: processors, memory, disk, versions
traits         the same in Placement's words
probe          whether KVM works here
registration   host document, resource provider, inventories, traits
liveness       the key under a lease
assignments    what is assigned to this host, as the watch tells it
images         the cache of disk images
disks          overlay disks and what a disk image's header says
seed           the NoCloud image a guest configures itself from
domain_xml     an instance as libvirt's XML
hypervisor     what the rest of the agent knows of libvirt: a protocol and its values
driver         libvirt
connection     libvirt's connection, its event loop, reconnecting
plan           which steps lead from what is to what shall be; pure
reconcile      looking, planning and acting for one instance
steps          the steps
status         what the user sees
sweep          what nobody asks for any more
outage         one log line when something goes and one when it is back
"""

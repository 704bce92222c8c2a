"""etcd-compute: VMs driven by desired state in etcd, placed on a graph, run by libvirt."""

__version__ = "0.1.0"

"""The driver, as all who talk to the server use it."""

from neo4j import Driver, GraphDatabase

from etcdcompute.placement.graph.neo4j.address import Address


def open_driver(address: Address, *, connections: int, connect_s: float, check_idle: bool = False) -> Driver:
    """Return a driver; nothing is connected yet.

    At most `connections` are open at once; who finds all of them in use waits for `connect_s`, which is also how long
    a server may take to accept one. `check_idle` asks a connection whether it still works before it is used.
    """
    return GraphDatabase.driver(
        f"bolt://{address.host_port}",
        auth=(address.user, address.password),
        connection_timeout=connect_s,
        connection_acquisition_timeout=connect_s,
        liveness_check_timeout=0 if check_idle else None,
        max_connection_pool_size=connections,
        # Nobody reads them, and to make them costs the server time.
        notifications_min_severity="OFF",
        telemetry_disabled=True,
        user_agent="etcd-compute",
    )

"""The only code that knows etcd: a client with failover, transactions, watches that resume, leases and elections.

client        Client: what everybody else uses
records       the values that go in and out
transactions  compares and operations as etcd's messages
watch         list, then watch, and never lose an event
lease         what lives only as long as its owner
election      one leader, and fencing for the ones before it
connection    members, failover, authentication, time limits
endpoint      one member: address, TLS, channel
errors        what etcd's answers mean
rpc           the generated stubs, and the only import of them
"""

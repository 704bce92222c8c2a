from pathlib import Path

from lab import surroundings
from lab.surroundings import Surroundings


def make(**changes: object) -> Surroundings:
    values: dict[str, object] = {
        "nameservers": ("10.9.9.9",),
        "search": (),
        "apt_settings": (),
        "authorities": (),
        "pip_conf": None,
        "mirror": "http://deb.debian.org/debian",
        "security_mirror": "http://deb.debian.org/debian-security",
        "mtu": 1500,
    }
    return Surroundings(**{**values, **changes})  # type: ignore[arg-type]


def test_only_name_servers_that_a_node_can_reach_are_taken_over() -> None:
    text = "# comment\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver 10.0.0.53\nsearch example.org .\n"
    assert surroundings.parse_resolv_conf(text) == (("10.0.0.53",), ("example.org",))


def test_a_stub_resolver_alone_gives_nothing() -> None:
    assert surroundings.parse_resolv_conf("nameserver 127.0.0.53\noptions edns0\n") == ((), ())


def test_resolv_conf_is_written_with_search_domains_first() -> None:
    assert make(search=("a.example", "b.example")).resolv_conf() == "search a.example b.example\nnameserver 10.9.9.9\n"


def test_apt_proxies_and_dates_are_taken_over_and_nothing_else() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://127.0.0.1:3142";\nAcquire::https::Proxy "";\n'
        'Acquire::http::Proxy::deb.debian.org "DIRECT";\nAcquire::Check-Date "false";\n'
        'DPkg::Post-Invoke:: "rm -rf /";\n'
    )
    assert surroundings.parse_apt_settings(dump) == (
        ("Acquire::http::Proxy", "http://127.0.0.1:3142"),
        ("Acquire::http::Proxy::deb.debian.org", "DIRECT"),
        ("Acquire::Check-Date", "false"),
    )


def test_a_proxy_on_the_hosts_loopback_is_reached_through_the_bridge() -> None:
    settings = (("Acquire::http::Proxy", "http://localhost:3142/"), ("Acquire::https::Proxy", "http://proxy:3128"))
    host = make(apt_settings=settings)
    assert host.apt_conf() == (
        'Acquire::http::Proxy "http://localhost:3142/";\nAcquire::https::Proxy "http://proxy:3128";\n'
    )
    assert host.apt_conf(gateway="10.1.2.1").splitlines()[0] == 'Acquire::http::Proxy "http://10.1.2.1:3142/";'


def test_the_hosts_debian_mirror_is_used_and_others_are_not() -> None:
    sources = (
        "Types: deb\n# http://snapshot.debian.org/archive/debian\nURIs: http://mirror.example/debian/\n"
        "URIs: http://mirror.example/debian-security\n"
        "deb [signed-by=/x.gpg] https://packages.example/apt stable main\n"
    )
    assert surroundings.parse_mirrors(sources) == (
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    )


def test_without_a_debian_mirror_debians_own_is_used() -> None:
    assert surroundings.parse_mirrors("deb http://archive.ubuntu.com/ubuntu noble main\n") == (
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
    )


def test_the_digest_follows_the_authorities_content(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.crt"
    certificate.write_text("one")
    host = make(authorities=(certificate,))
    first = host.authorities_digest
    certificate.write_text("two")
    assert host.authorities_digest != first

"""https endpoints: authorities, client certificates, and errors that name the file."""

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from etcdcompute.errors import InvalidInput, Unavailable
from etcdcompute.kv.client import Client, Tls
from etcdcompute.kv.records import Committed, Write
from tests.functional.etcd_server import EtcdServer


@dataclass(frozen=True)
class Pki:
    """Files of an authority, a server on loopback and a client."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


def make_pki(directory: Path) -> Pki:
    now = datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def certificate(name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )

    def write(name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> tuple[Path, Path]:
        subject = ca_name if ca else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
        cert_file.write_bytes(certificate(subject, key, ca=ca).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file

    ca_file, _ = write("ca", ca_key, ca=True)
    return Pki(
        ca_file,
        write("server", ec.generate_private_key(ec.SECP256R1())),
        write("client", ec.generate_private_key(ec.SECP256R1())),
    )


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secure(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    arguments = [
        f"--cert-file={pki.server[0]}",
        f"--key-file={pki.server[1]}",
        f"--trusted-ca-file={pki.ca}",
        "--client-cert-auth",
    ]
    directory = tmp_path_factory.mktemp("secure")
    with EtcdServer(directory, scheme="https", arguments=arguments) as server:
        yield server


def test_a_client_with_a_certificate_is_served(secure: EtcdServer, pki: Pki) -> None:
    tls = Tls(ca_file=pki.ca, cert_file=pki.client[0], key_file=pki.client[1])
    with Client([secure.endpoint], tls=tls, request_timeout_s=10) as client:
        assert isinstance(client.commit([], [Write("/t/a", b"1")]), Committed)
        with client.watch("/t/") as events:
            assert next(events).revision >= 2


def test_without_a_certificate_or_with_another_authority_nothing_is_exchanged(
    secure: EtcdServer, pki: Pki, tmp_path: Path
) -> None:
    stranger = make_pki(tmp_path)
    for tls in (
        Tls(ca_file=pki.ca),
        Tls(ca_file=stranger.ca, cert_file=pki.client[0], key_file=pki.client[1]),
        Tls(ca_file=pki.ca, cert_file=stranger.client[0], key_file=stranger.client[1]),
        None,
    ):
        with (
            Client([secure.endpoint], tls=tls, request_timeout_s=0.4) as client,
            pytest.raises(Unavailable, match="no etcd of https"),
        ):
            client.commit([], [Write("/t/a", b"")])


def test_a_file_that_cannot_be_used_is_named(pki: Pki, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.crt"
    with pytest.raises(InvalidInput, match=r"ca_file .*nothing\.crt cannot be read: No such file"):
        Client(["https://127.0.0.1:1"], tls=Tls(ca_file=nothing))
    nothing.write_text("not a certificate")
    with pytest.raises(InvalidInput, match="is not a PEM file"):
        Client(["https://127.0.0.1:1"], tls=Tls(ca_file=nothing))
    with pytest.raises(InvalidInput, match="both cert_file and key_file"):
        Client(["https://127.0.0.1:1"], tls=Tls(ca_file=pki.ca, cert_file=pki.client[0]))

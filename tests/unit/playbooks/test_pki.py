"""The estate's authority: certificates that it signed are accepted, others are refused."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509

from playbooks import pki


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    """Return an authority of the estate."""
    key, cert = pki.new_authority("estate", 100)
    return pki.Authority(key=key, cert=cert)


def test_an_authority_signs_hosts_and_no_further_authority(authority: pki.Authority) -> None:
    cert = x509.load_pem_x509_certificate(authority.cert.encode())
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_a_certificate_contains_its_names_and_addresses_unchanged(authority: pki.Authority) -> None:
    sans = ("futian-data1", "primary.postgresql.govcloud", "10.64.1.21", "fd64:c10d:0:1::21")
    _, cert = pki.issue(authority, "futian-data1", sans, 10, ("server", "client"))
    extensions = x509.load_pem_x509_certificate(cert.encode()).extensions
    found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(str(name.value) for name in found) == sans


def test_a_certificate_never_outlives_its_authority(authority: pki.Authority) -> None:
    _, cert = pki.issue(authority, "host", (), 5000, ("server",))
    now = datetime.now(UTC)
    assert pki.valid_for(cert, now) <= pki.valid_for(authority.cert, now)


def test_a_certificate_is_due_in_the_last_third_of_its_life(authority: pki.Authority) -> None:
    _, cert = pki.issue(authority, "host", (), 90, ("server",))
    now = datetime.now(UTC)
    assert not pki.due(cert, now + timedelta(days=58))
    assert pki.due(cert, now + timedelta(days=62))
    assert pki.valid_for(cert, now + timedelta(days=91)) < timedelta()


def test_an_unknown_usage_and_a_foreign_key_are_refused(authority: pki.Authority) -> None:
    with pytest.raises(ValueError, match="unknown usage signer"):
        pki.issue(authority, "host", (), 1, ("signer",))
    foreign, _ = pki.new_authority("other", 1)
    with pytest.raises(ValueError, match="does not belong"):
        pki.issue(pki.Authority(key=foreign, cert=authority.cert), "host", (), 1, ("server",))


def test_keys_do_not_show_in_representations(authority: pki.Authority) -> None:
    assert "PRIVATE" not in repr(authority)


def test_passwords_need_no_quoting_and_differ() -> None:
    made = {pki.new_password() for _ in range(20)}
    assert len(made) == 20
    assert all(len(word) == pki.PASSWORD_LENGTH and word.isalnum() and word.isascii() for word in made)


@pytest.mark.parametrize(
    ("signed_by_us", "name", "accepted"), [(True, "host", True), (True, "other", False), (False, "host", False)]
)
def test_a_handshake_succeeds_only_with_our_signature_and_the_right_name(
    authority: pki.Authority, tmp_path: Path, signed_by_us: bool, name: str, accepted: bool
) -> None:
    signer = authority
    if not signed_by_us:
        key, cert = pki.new_authority("other", 1)
        signer = pki.Authority(key=key, cert=cert)
    key, cert = pki.issue(signer, "host", ("host",), 1, ("server", "client"))
    (tmp_path / "host.pem").write_text(cert + key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "host.pem")
    client = ssl.create_default_context(cadata=authority.cert)
    assert handshake(server, client, name) is accepted


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Return whether the client accepts the server under `name`."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    theirs.settimeout(5)

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
        return True
    except ssl.SSLCertVerificationError:
        return False
    finally:
        ours.close()
        thread.join()

"""The rendered ingress in a real HAProxy, in front of a real PostgreSQL with TLS and an emulated Patroni API."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psycopg
import pytest
from hostile import HOSTILE
from raw_http import RAW_REQUESTS, STALLED, answer, explained, sent, waited_for

from contracts.loader import contract
from estate.addressing import plan
from estate.loader import load
from playbooks import pki
from playbooks.render import ingress
from playbooks.render.pki import PRIMARY_NAME, STANDBY_NAME, leaves
from tests import image_programs
from tests.one_service import only
from tests.polling import until

SERVICE = contract("approval")
HOST, MEMBER = "futian-kube1", "futian-data1"
ACCOUNT = "nobody"


def free_port():
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def certificates(home):
    """The CA and the certificates of two hosts, as the estate issues them."""
    estate = load()
    key, cert = pki.new_authority("estate", 10)
    authority = pki.Authority(key=key, cert=cert)
    folder = home / "pki"
    folder.mkdir()
    (folder / "ca.crt").write_text(cert)
    for leaf in leaves(estate, plan(estate)):
        if leaf.name in (HOST, MEMBER):
            own_key, own = pki.issue(authority, leaf.subject, leaf.sans, 10, leaf.usages)
            (folder / f"{leaf.name}.pem").write_text(own + own_key)
            (folder / f"{leaf.name}.crt").write_text(own)
            (folder / f"{leaf.name}.key").write_text(own_key)
    return folder


class EmulatedPatroni:
    """Emulates Patroni's REST API over TLS with the member's certificate: 200 on /primary while `primary` is true."""

    def __init__(self, certificates):
        role = self
        self.primary = True

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if role.primary and self.path == "/primary" else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{MEMBER}.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        """Stop the server."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def role(certificates):
    """The emulated Patroni API."""
    running = EmulatedPatroni(certificates)
    yield running
    running.close()


@pytest.fixture(scope="module")
def database(primary, certificates):
    """The TCP port of the primary. It accepts only TLS."""
    for end in ("crt", "key"):
        target = primary.data / f"server.{end}"
        shutil.copy(certificates / f"{MEMBER}.{end}", target)
        target.chmod(0o600)
        shutil.chown(target, primary.data.owner(), primary.data.group())
    port = free_port()
    hba = primary.data / "pg_hba.conf"
    hba.write_text("local all all trust\nlocal replication all trust\nhostssl all all 127.0.0.1/32 trust\n")
    primary.sql("ALTER SYSTEM SET listen_addresses = '127.0.0.1'")
    primary.sql("ALTER SYSTEM SET ssl = 'on'")
    primary.stop("fast")
    as_found = (primary.data / "postgresql.conf").read_text()
    (primary.data / "postgresql.conf").write_text(re.sub(r"\nport = \d+", f"\nport = {port}", as_found))
    primary.port, former = port, primary.port
    primary.start()
    yield port
    primary.stop("fast")
    (primary.data / "postgresql.conf").write_text(as_found)
    primary.port = former
    primary.start()


@pytest.fixture(scope="module")
def proxy(home, certificates, database, role):
    """HAProxy with the rendered configuration of a host. Only addresses, ports, paths and account are changed."""
    haproxy = image_programs.argv("haproxy")
    empty = home / "empty"
    empty.mkdir()
    estate = only(load(), SERVICE.name)
    ports = {name: free_port() for name in ("citizens", "metrics", "own", "primary", "local", "service")}
    text = ingress.config_text(estate, plan(estate), estate.host(HOST))
    lan = str(plan(estate).lan(HOST).ipv4)
    member = str(plan(estate).lan(MEMBER).ipv4)
    pods = plan(estate).service_cluster_ip("futian", SERVICE.name).ipv4
    text = re.sub(rf"    bind (203\.|\[|{lan}:543).*\n", "", text)
    text = re.sub(r"    server (nanshan|shaoguan)-data1.*\n", "", text)
    for old, new in (
        ("/etc/govcloud/pki/host.pem", f"{certificates}/{HOST}.pem"),
        ("/etc/govcloud/pki", str(certificates)),
        ("/run/haproxy", str(home)),
        ("chroot /var/lib/haproxy", f"chroot {empty}"),
        ("user haproxy", f"user {ACCOUNT}"),
        ("group haproxy", "group nogroup"),
        (f"{lan}:443", f"127.0.0.1:{ports['citizens']}"),
        (f"{lan}:8080", f"127.0.0.1:{ports['metrics']}"),
        (f"{lan}:8405", f"127.0.0.1:{ports['own']}"),
        ("127.0.0.1:5432", f"127.0.0.1:{ports['primary']}"),
        ("127.0.0.1:5433", f"127.0.0.1:{ports['local']}"),
        (f"{pods}:{SERVICE.port}", f"127.0.0.1:{ports['service']}"),
        (f"{member}:5432", f"127.0.0.1:{database}"),
        ("port 8008", f"port {role.port}"),
    ):
        assert old in text
        text = text.replace(old, new)
    config = home / "haproxy.cfg"
    config.write_text(text)
    checked = subprocess.run([*haproxy, "-c", "-f", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in (checked.stdout + checked.stderr).lower(), checked.stderr
    process = subprocess.Popen([*haproxy, "-db", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield ports
    process.terminate()
    process.wait(15)


def dsn(ports, certificates, name, port):
    """Return the service's connection string: through the proxy, with a check of the server's name."""
    return (
        f"host={name} hostaddr=127.0.0.1 port={ports[port]} dbname=approval user=approval_app"
        f" sslmode=verify-full sslrootcert={certificates}/ca.crt"
    )


def connects(conninfo):
    """Return whether a query succeeds."""
    try:
        with psycopg.connect(conninfo, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_the_primary_is_reached_by_its_name_over_tls(proxy, certificates):
    """TLS ends at PostgreSQL, not at the proxy."""
    until("a connection to the primary", lambda: connects(dsn(proxy, certificates, PRIMARY_NAME, "primary")), 10)
    assert not connects(dsn(proxy, certificates, "another.govcloud", "primary"))


def test_a_primary_that_loses_its_role_loses_its_sessions_at_once(proxy, certificates, role):
    """This takes at most two checks. The local port keeps working, and the returning role is noticed as fast."""
    way = dsn(proxy, certificates, PRIMARY_NAME, "primary")
    until("a connection to the primary", lambda: connects(way), 10)
    with psycopg.connect(way, autocommit=True) as connection:
        role.primary = False
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(10)")
        assert time.monotonic() - started < 2
    assert not connects(way)
    assert connects(dsn(proxy, certificates, STANDBY_NAME, "local"))
    role.primary = True
    until("a connection after the role returns", lambda: connects(way), 2)


def test_the_checks_leave_no_line_in_the_databases_log(proxy, primary, certificates):
    """There are two checks per second for ever, so PostgreSQL must not log them."""
    until("a connection to the local server", lambda: connects(dsn(proxy, certificates, STANDBY_NAME, "local")), 10)
    log = primary.home / "primary.log"
    before = log.stat().st_size
    sessions = f"http://127.0.0.1:{proxy['own']}/metrics"
    assert "haproxy_process_uptime_seconds" in httpx.get(sessions).text
    done = time.monotonic() + 2
    until("two seconds of checks", lambda: time.monotonic() > done, 10)
    added = log.read_bytes()[before:].decode()
    assert "SSL" not in added, added
    assert "startup packet" not in added, added


def test_a_site_without_service_answers_in_chinese(proxy, certificates):
    """The answer is 503 with a code and Retry-After, not the proxy's own page. Citizens cannot read metrics."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.check_hostname = False
    with httpx.Client(base_url=f"https://127.0.0.1:{proxy['citizens']}", verify=context) as citizen:
        answer = citizen.get("/")
        assert (answer.status_code, answer.json()["code"]) == (503, "site_down")
        assert "本中心" in answer.json()["message"]
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-govcloud-site"] == "futian"
        assert citizen.get("/metrics").status_code == 404


def test_plaintext_is_refused_on_the_citizens_port(proxy):
    """The port sends no unencrypted answer."""
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{proxy['citizens']}/")


def test_the_metrics_port_refuses_applications(proxy):
    """It refuses applications."""
    assert httpx.post(f"http://127.0.0.1:{proxy['metrics']}/v1/applications").status_code == 404


@pytest.fixture(scope="module")
def behind(proxy, primary, start_service):
    """An instance of the service behind the proxy."""
    dsn_of_app = primary.dsn("approval_app")
    return start_service(dsn_of_app, dsn_of_app, port=proxy["service"], APPROVAL_REQUIRE_SYNC="0")


@pytest.fixture(scope="module")
def citizen(proxy, certificates, behind):
    """A client whose requests go over TLS and through the proxy."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.check_hostname = False
    with httpx.Client(base_url=f"https://127.0.0.1:{proxy['citizens']}", verify=context, timeout=15) as client:
        until("the proxy has found the instance", lambda: client.get("/readyz").status_code == 200, 30)
        yield client


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_application_is_refused_with_its_reason_through_the_proxy(citizen, next_person, case):
    """The client gets the service's own refusal: no error page of the proxy, no reset in the middle of 10 MB."""
    headers = dict(case.headers) | {"Idempotency-Key": str(uuid.uuid4())}
    answer = citizen.post("/v1/applications", content=case.make(next_person()), headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.json().get("field", "")) == (
        case.status,
        case.code,
        case.field,
    )


def test_a_key_that_is_used_again_with_another_body_is_refused_through_the_proxy(citizen, next_person):
    """The first answer stays."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = citizen.post("/v1/applications", json=next_person(), headers=key)
    assert first.status_code == 201, first.text
    again = citizen.post("/v1/applications", json=next_person(), headers=key)
    assert (again.status_code, again.json()["code"]) == (409, "key_reused")


def unverified(proxy):
    """Return a connection to the citizens' port without an HTTP library."""
    context = ssl._create_unverified_context()
    return context.wrap_socket(socket.create_connection(("127.0.0.1", proxy["citizens"]), timeout=20))


@pytest.mark.parametrize("case", RAW_REQUESTS, ids=lambda case: case.name)
def test_a_malformed_request_is_refused_through_the_proxy(citizen, proxy, case):
    """The service refuses it as without a proxy. The proxy itself refuses bytes that are not HTTP, with one page."""
    with unverified(proxy) as connection:
        sent(connection, case.data)
        status, body = answer(connection)
    if case.is_http:
        assert (status, explained(body)) == (case.status, case.code)
    else:
        assert (status, body[:6]) == (400, b"<html>")


def test_a_stalled_request_is_refused_by_the_proxy(citizen, proxy):
    """It does not occupy the service."""
    cases = [case for case in STALLED if case.is_http]
    for case, _, (status, body) in waited_for(cases, lambda: unverified(proxy)):
        assert (status, explained(body)) == (case.status, case.code), case.name

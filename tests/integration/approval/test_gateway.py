"""A bureau's rendered gateway in a real HAProxy, with local servers in place of the workloads in Kubernetes."""

import os
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from playbooks import pki
from playbooks.render import gateway
from tests import image_programs
from tests.polling import until

RECORDS, MAPS = "records.planning.govcloud", "maps.planning.govcloud"
OLD_CIPHERS = "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"


def free_port():
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Workload:
    """A server that answers with its name. `dying` is the number of next requests that it drops without an answer, as a
    killed pod does."""

    def __init__(self, name, port=0):
        workload = self
        self.name, self.dying, self.taken = name, 0, []

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                workload.taken.append((self.command, dict(self.headers)))
                if workload.dying:
                    workload.dying -= 1
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(workload.name)))
                self.end_headers()
                self.wfile.write(workload.name.encode())

            do_POST = do_GET

            def log_message(self, *_):
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self):
        """Stop the server. Connections to its port are refused from now on."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def workloads():
    """Two workloads by name."""
    made = {name: Workload(name) for name in ("records", "maps")}
    yield made
    for one in made.values():
        one.close()


class Gate:
    """The gateway and its CA. It accepts the PROXY header with the citizen's address only from `ingress`."""

    def __init__(self, folder, workloads, ingress=("127.0.0.1", "::1")):
        key, cert = pki.new_authority("estate", 2)
        self.authority, self.folder = pki.Authority(key=key, cert=cert), folder
        self.port, self.proxied, self.observed = free_port(), free_port(), free_port()
        own_key, own = pki.issue(self.authority, "planning-gateway", [RECORDS, MAPS], 2, ["server"])
        (folder / "host.pem").write_text(own + own_key)
        hosts = {RECORDS: "records", MAPS: "maps"}
        routes = [
            gateway.Route(host=host, service=name, address="127.0.0.1", port=workloads[name].port)
            for host, name in hosts.items()
        ]
        text = gateway.config_text("planning-gateway", routes, ingress)
        for old, new in (
            (f":::{gateway.PORT} v4v6", f"127.0.0.1:{self.port}"),
            (f":::{gateway.PROXIED_PORT} v4v6", f"127.0.0.1:{self.proxied}"),
            (f"dst_port {gateway.PROXIED_PORT}", f"dst_port {self.proxied}"),
            (f":::{gateway.OBSERVED_PORT} v4v6", f"127.0.0.1:{self.observed}"),
            (gateway.BUNDLE_FILE, str(folder / "host.pem")),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / "haproxy.cfg").write_text(text)

    def start(self):
        """Start HAProxy with the pod's command and wait until it is ready."""
        argv = [*image_programs.argv("haproxy"), "-db", "-f", self.folder / "haproxy.cfg"]
        checked = subprocess.run([*argv, "-c"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "warning" not in (checked.stdout + checked.stderr).lower(), checked.stderr
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("the gateway is ready", self.ready, 10)

    def ready(self, path=gateway.HEALTH):
        """Return whether a health path answers 200. The kubelet uses the default path, a site's ingress `READY`."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.observed}{path}").status_code == 200
        except httpx.TransportError:
            return False

    def forwarded(self, header):
        """Return the first line of the answer on a connection that begins with `header`, as from an ingress."""
        with socket.create_connection(("127.0.0.1", self.proxied), timeout=5) as raw:
            raw.sendall(header)
            with self.trust().wrap_socket(raw, server_hostname=RECORDS) as secured:
                secured.sendall(f"GET / HTTP/1.1\r\nHost: {RECORDS}\r\nConnection: close\r\n\r\n".encode())
                return secured.recv(4096).split(b"\r\n")[0].decode()

    def refuses(self, header):
        """Return whether the gateway closes a connection that begins with `header`. Otherwise it waits for TLS."""
        try:
            with socket.create_connection(("127.0.0.1", self.proxied), timeout=5) as raw:
                raw.sendall(header)
                return raw.recv(1) == b""
        except ConnectionError:
            return True

    def trust(self, authority=None):
        """Return a TLS context that trusts the estate's CA, or the given one."""
        return ssl.create_default_context(cadata=(authority or self.authority).cert)

    @contextmanager
    def citizen(self, **options):
        """Yield a function that sends a request over loopback with the given host name."""
        client = httpx.Client(verify=self.trust(), timeout=10, **options)
        try:
            yield lambda host, method="GET", **more: client.request(
                method,
                f"https://127.0.0.1:{self.port}/",
                headers={"Host": host},
                extensions={"sni_hostname": more.pop("sni", host)},
                **more,
            )
        finally:
            client.close()


@pytest.fixture
def gate(tmp_path, workloads):
    """A running gateway."""
    made = Gate(tmp_path, workloads)
    made.start()
    yield made
    made.process.terminate()
    made.process.wait(15)


def test_each_host_name_is_routed_to_its_own_workload(gate, workloads):
    """This holds for upper case, with and without a port, and on a connection that was opened for another name."""
    with gate.citizen() as ask:
        assert ask(RECORDS).text == "records"
        assert ask(MAPS).text == "maps"
        assert ask(f"{MAPS.upper()}:{gate.port}", sni=RECORDS).text == "maps"
        answer = ask(RECORDS, "POST", content=b"1")
    assert answer.headers["strict-transport-security"]
    seen = workloads["records"].taken[-1][1]
    assert (seen["x-forwarded-proto"], seen["x-forwarded-for"]) == ("https", "127.0.0.1")


CITIZEN = b"PROXY TCP4 198.51.100.7 203.0.113.210 40000 443\r\n"


def test_the_sites_ingress_reports_the_address_of_the_citizen(gate, workloads):
    """On that port the gateway refuses a connection without the PROXY header."""
    assert gate.forwarded(CITIZEN).split()[1] == "200"
    assert workloads["records"].taken[-1][1]["x-forwarded-for"] == "198.51.100.7"
    assert gate.refuses(b"GET / HTTP/1.1\r\n\r\n")
    assert len(workloads["records"].taken) == 1


def test_the_address_of_a_citizen_is_accepted_only_from_the_ingress(tmp_path, workloads):
    """Any pod of the cluster can connect to that port."""
    made = Gate(tmp_path, workloads, ingress=("192.0.2.1", "2001:db8::1"))
    made.start()
    try:
        assert made.refuses(CITIZEN)
        with made.citizen() as ask:
            assert ask(RECORDS).text == "records"
    finally:
        made.process.terminate()
        made.process.wait(15)
    assert [headers["x-forwarded-for"] for _, headers in workloads["records"].taken] == ["127.0.0.1"]


def test_it_is_ready_while_it_has_a_workload(gate, workloads):
    """One workload is enough. The other health path reports only that the pod itself can serve TLS."""
    until("it has checked the workloads", lambda: gate.ready(gateway.READY), 5)
    workloads["records"].close()
    with gate.citizen() as ask:
        until("one workload is down", lambda: active_workloads(gate) == 1, 10)
        assert gate.ready(gateway.READY)
        workloads["maps"].close()
        until("both are down", lambda: not gate.ready(gateway.READY), 10)
        assert gate.ready()
        assert ask("WATCH-" + MAPS, sni=MAPS).json()["code"] == "host_unknown"


def active_workloads(gate):
    """Return from the metrics how many hosts have a workload."""
    text = httpx.get(f"http://127.0.0.1:{gate.observed}/metrics").text
    name = 'haproxy_backend_active_servers{proxy="WATCH-'
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_an_unknown_host_is_refused_in_both_languages(gate):
    with gate.citizen() as ask:
        for host in ("tea.planning.govcloud", "unknown", "observed", gate.folder.name):
            answer = ask(host, sni=RECORDS)
            assert (answer.status_code, answer.json()["code"]) == (404, "host_unknown")
            assert "没有" in answer.json()["message"]


def test_a_request_without_tls_gets_no_answer(gate, workloads):
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{gate.port}/", headers={"Host": RECORDS})
    assert workloads["records"].taken == []


@pytest.mark.parametrize(
    ("version", "enters"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_versions_are_refused(gate, version, enters):
    """The gateway refuses them; the client in this test would accept them."""
    context = gate.trust()
    context.minimum_version = context.maximum_version = version
    if not enters:
        context.set_ciphers(OLD_CIPHERS)
    with socket.create_connection(("127.0.0.1", gate.port), 5) as raw:
        if not enters:
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                context.wrap_socket(raw, server_hostname=RECORDS)
            return
        with context.wrap_socket(raw, server_hostname=RECORDS) as secure:
            assert secure.version() == version.name.replace("_", ".")


def test_it_presents_only_the_estates_certificate(gate):
    """A client that trusts another CA cannot connect, and a client that expects another name cannot either."""
    key, cert = pki.new_authority("another authority", 2)
    other = pki.Authority(key=key, cert=cert)
    for context, name in ((gate.trust(other), RECORDS), (gate.trust(), "approval.govcloud")):
        with (
            socket.create_connection(("127.0.0.1", gate.port), 5) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(raw, server_hostname=name)


def test_a_dying_pod_costs_no_request_that_may_be_repeated(gate, workloads):
    """The gateway repeats it on another connection. It never repeats a POST: the citizen gets an error instead."""
    records = workloads["records"]
    with gate.citizen() as ask:
        records.dying = 2
        assert ask(RECORDS).text == "records"
        assert len(records.taken) == 3
    records.dying = 1
    with gate.citizen() as ask:
        answer = ask(RECORDS, "POST", content=b"1")
        assert (answer.status_code, answer.json()["code"]) == (502, "service_down")
        assert answer.headers["retry-after"] == "1"
        assert [method for method, _ in records.taken].count("POST") == 1


def test_a_request_waits_for_a_workload_that_starts_late(gate, workloads):
    """This includes a POST, because no pod has received it yet. Requests to other workloads are not delayed."""
    port = workloads["records"].port
    workloads.pop("records").close()
    answers = []
    with gate.citizen() as ask, gate.citizen() as other:
        waiting = threading.Thread(target=lambda: answers.append(ask(RECORDS, "POST", content=b"1")))
        waiting.start()
        until("an attempt has failed", lambda: retried(gate), 5)
        assert other(MAPS).text == "maps"
        workloads["records"] = Workload("records", port)
        waiting.join(10)
        assert answers[0].text == "records"
        workloads.pop("records").close()
        answer = ask(RECORDS)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_down")


def retried(gate):
    """Return from the metrics whether the records' backend has retried a connection."""
    text = httpx.get(f"http://127.0.0.1:{gate.observed}/metrics").text
    name = f'haproxy_backend_retry_warnings_total{{proxy="{RECORDS}"}} '
    return any(line.startswith(name) and float(line.removeprefix(name)) > 0 for line in text.splitlines())


def test_the_metrics_port_serves_no_workload(gate):
    """The citizens' port serves no metrics."""
    answer = httpx.get(f"http://127.0.0.1:{gate.observed}/", headers={"Host": RECORDS})
    assert answer.status_code == 404
    with gate.citizen() as ask:
        assert "haproxy_" not in ask(RECORDS).text


def test_a_stopping_pod_finishes_its_requests_and_closes_its_connections(gate, workloads):
    """SIGUSR1 is the image's stop signal. A connected client gets one more answer, with `Connection: close`."""
    with gate.citizen() as ask:
        assert "connection" not in ask(RECORDS).headers
        os.kill(gate.process.pid, signal.SIGUSR1)
        until("it accepts no new connection", lambda: not gate.ready(), 5)
        answer = ask(RECORDS)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        with pytest.raises(httpx.TransportError):
            ask(RECORDS)
    assert gate.process.wait(5) == 0

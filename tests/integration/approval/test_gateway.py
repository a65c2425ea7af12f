"""A bureau's rendered gateway in a real HAProxy, with workloads where Kubernetes would have led it."""

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
CIPHERS_OF_OLD = "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"


def free_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Workload:
    """Answers with its own name. Told to die, it drops the next connection without an answer, as a killed pod does."""

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
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self):
        """Stops answering; its port is refused from now on."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def workloads():
    """Two, by name."""
    made = {name: Workload(name) for name in ("records", "maps")}
    yield made
    for one in made.values():
        one.close()


class Gate:
    """The gateway and its authority. `ingress`: from where it believes who the citizen is."""

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
        """As the pod's command, and until it is ready."""
        argv = [*image_programs.argv("haproxy"), "-db", "-f", self.folder / "haproxy.cfg"]
        checked = subprocess.run([*argv, "-c"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "warning" not in (checked.stdout + checked.stderr).lower(), checked.stderr
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("the gateway is ready", self.ready, 10)

    def ready(self, path=gateway.HEALTH):
        """As the kubelet asks, and as a site's ingress does by another path."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.observed}{path}").status_code == 200
        except httpx.TransportError:
            return False

    def handed_on(self, words):
        """The first line of the answer to a citizen whose connection begins with `words`, as an ingress would."""
        with socket.create_connection(("127.0.0.1", self.proxied), timeout=5) as raw:
            raw.sendall(words)
            with self.trust().wrap_socket(raw, server_hostname=RECORDS) as secured:
                secured.sendall(f"GET / HTTP/1.1\r\nHost: {RECORDS}\r\nConnection: close\r\n\r\n".encode())
                return secured.recv(4096).split(b"\r\n")[0].decode()

    def refuses(self, words):
        """Whether a connection that begins so ends at once; one that is let in is waited for, to say more."""
        try:
            with socket.create_connection(("127.0.0.1", self.proxied), timeout=5) as raw:
                raw.sendall(words)
                return raw.recv(1) == b""
        except ConnectionError:
            return True

    def trust(self, authority=None):
        """Of the estate's authority, unless of another."""
        return ssl.create_default_context(cadata=(authority or self.authority).cert)

    @contextmanager
    def citizen(self, **options):
        """Comes by loopback and asks for whatever name it is told."""
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
    """Running."""
    made = Gate(tmp_path, workloads)
    made.start()
    yield made
    made.process.terminate()
    made.process.wait(15)


def test_each_host_name_leads_to_its_own_workload(gate, workloads):
    """Whatever the writing of the name, with its port or without, also over a connection that it was not made for."""
    with gate.citizen() as ask:
        assert ask(RECORDS).text == "records"
        assert ask(MAPS).text == "maps"
        assert ask(f"{MAPS.upper()}:{gate.port}", sni=RECORDS).text == "maps"
        answer = ask(RECORDS, "POST", content=b"1")
    assert answer.headers["strict-transport-security"]
    seen = workloads["records"].taken[-1][1]
    assert (seen["x-forwarded-proto"], seen["x-forwarded-for"]) == ("https", "127.0.0.1")


CITIZEN = b"PROXY TCP4 198.51.100.7 203.0.113.210 40000 443\r\n"


def test_the_sites_ingress_says_who_the_citizen_is(gate, workloads):
    """And nobody comes in by that door without saying it."""
    assert gate.handed_on(CITIZEN).split()[1] == "200"
    assert workloads["records"].taken[-1][1]["x-forwarded-for"] == "198.51.100.7"
    assert gate.refuses(b"GET / HTTP/1.1\r\n\r\n")
    assert len(workloads["records"].taken) == 1


def test_whoever_else_says_who_the_citizen_is_is_not_believed(tmp_path, workloads):
    """Any pod of the cluster reaches that door."""
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


def test_it_is_ready_while_it_has_somewhere_to_lead_to(gate, workloads):
    """One of its hosts is enough; that a pod can end TLS is another question."""
    until("it has seen the workloads", lambda: gate.ready(gateway.READY), 5)
    workloads["records"].close()
    with gate.citizen() as ask:
        until("one is seen to be gone", lambda: watched(gate) == 1, 10)
        assert gate.ready(gateway.READY)
        workloads["maps"].close()
        until("both are", lambda: not gate.ready(gateway.READY), 10)
        assert gate.ready()
        assert ask("WATCH-" + MAPS, sni=MAPS).json()["code"] == "host_unknown"


def watched(gate):
    """How many of the hosts have somewhere to lead to, as the figures tell it."""
    text = httpx.get(f"http://127.0.0.1:{gate.observed}/metrics").text
    name = 'haproxy_backend_active_servers{proxy="WATCH-'
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_an_unknown_host_is_told_so_in_both_languages(gate):
    with gate.citizen() as ask:
        for host in ("tea.planning.govcloud", "unknown", "observed", gate.folder.name):
            answer = ask(host, sni=RECORDS)
            assert (answer.status_code, answer.json()["code"]) == (404, "host_unknown")
            assert "没有" in answer.json()["message"]


def test_without_tls_nothing_is_answered(gate, workloads):
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{gate.port}/", headers={"Host": RECORDS})
    assert workloads["records"].taken == []


@pytest.mark.parametrize(
    ("version", "enters"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_of_old_is_refused(gate, version, enters):
    """By the gateway: the client would speak it."""
    context = gate.trust()
    context.minimum_version = context.maximum_version = version
    if not enters:
        context.set_ciphers(CIPHERS_OF_OLD)
    with socket.create_connection(("127.0.0.1", gate.port), 5) as raw:
        if not enters:
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                context.wrap_socket(raw, server_hostname=RECORDS)
            return
        with context.wrap_socket(raw, server_hostname=RECORDS) as secure:
            assert secure.version() == version.name.replace("_", ".")


def test_it_shows_the_estates_certificate_and_no_others(gate):
    """A citizen who trusts somebody else does not enter, nor one who wants a name that is not the gateway's."""
    key, cert = pki.new_authority("somebody else", 2)
    other = pki.Authority(key=key, cert=cert)
    for context, name in ((gate.trust(other), RECORDS), (gate.trust(), "approval.govcloud")):
        with (
            socket.create_connection(("127.0.0.1", gate.port), 5) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(raw, server_hostname=name)


def test_a_pod_that_dies_costs_no_request_that_may_be_asked_twice(gate, workloads):
    """Another connection, another pod. What may have been done already is not sent again, and the citizen is told."""
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


def test_a_workload_that_nobody_answers_for_yet_costs_no_request_if_it_comes(gate, workloads):
    """Also no POST: nobody has taken it. The other workloads notice nothing."""
    port = workloads["records"].port
    workloads.pop("records").close()
    answers = []
    with gate.citizen() as ask, gate.citizen() as other:
        waiting = threading.Thread(target=lambda: answers.append(ask(RECORDS, "POST", content=b"1")))
        waiting.start()
        until("a try has failed", lambda: retried(gate), 5)
        assert other(MAPS).text == "maps"
        workloads["records"] = Workload("records", port)
        waiting.join(10)
        assert answers[0].text == "records"
        workloads.pop("records").close()
        answer = ask(RECORDS)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_down")


def retried(gate):
    """Whether the records' backend has tried a connection again, as the figures tell it."""
    text = httpx.get(f"http://127.0.0.1:{gate.observed}/metrics").text
    name = f'haproxy_backend_retry_warnings_total{{proxy="{RECORDS}"}} '
    return any(line.startswith(name) and float(line.removeprefix(name)) > 0 for line in text.splitlines())


def test_the_observers_door_leads_to_no_workload(gate):
    """And the citizens' to no figures."""
    answer = httpx.get(f"http://127.0.0.1:{gate.observed}/", headers={"Host": RECORDS})
    assert answer.status_code == 404
    with gate.citizen() as ask:
        assert "haproxy_" not in ask(RECORDS).text


def test_a_pod_that_ends_finishes_what_it_has_begun_and_says_that_it_goes(gate, workloads):
    """SIGUSR1, the image's stop signal: a citizen who is connected is answered once more, and told to come anew."""
    with gate.citizen() as ask:
        assert "connection" not in ask(RECORDS).headers
        os.kill(gate.process.pid, signal.SIGUSR1)
        until("it takes nobody new", lambda: not gate.ready(), 5)
        answer = ask(RECORDS)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        with pytest.raises(httpx.TransportError):
            ask(RECORDS)
    assert gate.process.wait(5) == 0

"""The common parts of every HAProxy of the estate, in a site's ingress and in a bureau's gateway: TLS settings,
timeouts, and error answers that state the reason in both languages."""

from __future__ import annotations

TLS = """\
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305
"""
"""Lines of `global`. All keys of the estate are elliptic, so no other ciphers are useful."""


def saying(status: int, code: str, zh: str, en: str) -> str:
    """Return the rest of a line `http-request return` or `http-error` that answers with a reason."""
    body = f'{{"code":"{code}","message":"{zh}","message_en":"{en}"}}'
    return f"status {status} content-type \"application/json; charset=utf-8\" string '{body}'"


DEFAULTS = f"""\
defaults
    log global
    option dontlognull
    option clitcpka
    option srvtcpka
    clitcpka-idle 5s
    clitcpka-intvl 1s
    clitcpka-cnt 3
    srvtcpka-idle 2s
    srvtcpka-intvl 1s
    srvtcpka-cnt 2
    timeout connect 1s
    timeout check 2s
    timeout queue 1s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout client 60s
    timeout server 10s
    # A body that does not come. What is no HTTP at all gets the proxy's own page, which no setting changes.
    http-error {saying(408, "too_slow", "提交超时，请重试。", "The request came too slowly. Retry.")}
"""

ENDED_HERE = """\
    http-request set-header X-Forwarded-Proto https
    http-response set-header Strict-Transport-Security "max-age=31536000"
"""
"""Lines of the frontend that terminates TLS."""

CONNECT_AGAIN = """\
    retries 20
    # On this very host; also the pause before a connection is tried again.
    timeout connect 100ms
"""
RETRY = f"""\
{CONNECT_AGAIN}\
    retry-on conn-failure empty-response
"""
"""Lines of a backend whose one server is a service's address in the cluster. The next connection goes to another pod.

The service's address includes a dead pod for up to two seconds. With two pods, every second connection then reaches the
dead one. So many short tries are needed, not a few long ones, to get an answer before the citizen gives up."""

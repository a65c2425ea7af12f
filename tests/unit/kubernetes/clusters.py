"""A cluster whose API server is a function of the test, with its requests and its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import yaml

from stacks.providers.kubernetes import kubeconfig
from stacks.providers.kubernetes.api import Cluster

Answer = httpx2.Response | Exception


def kubeconfig_text(token: str = "hunter2hunter2", server: str = "https://192.0.2.1:6443", **user: Any) -> str:
    """Return a kubeconfig with a token or other credentials."""
    return yaml.safe_dump(
        {
            "current-context": "one",
            "clusters": [{"name": "one", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "admin", "user": user or {"token": token}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "admin"}}],
        }
    )


def answer(code: int, **fields: Any) -> httpx2.Response:
    """Return an answer of the API server. Refusals are Status objects."""
    return httpx2.Response(code, json=fields)


def cluster(handler: Callable[[httpx2.Request], Any], text: str = "", lines: list[str] | None = None) -> Cluster:
    """Return a cluster that answers by `handler`, which may be a coroutine function. `lines` receives its messages."""
    say = (lines if lines is not None else []).append
    access = kubeconfig.access({"kubeconfig": text or kubeconfig_text()})
    return Cluster(access, say, transport=httpx2.MockTransport(handler))


class Script:
    """Gives the answers in turn and repeats the last one. `asked` are the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), list[httpx2.Request]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return httpx2.Response(found.status_code, headers=found.headers, content=found.content)

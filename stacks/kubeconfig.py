"""Kubeconfigs for a site's Kubernetes cluster, made from the secrets in the state of the data stack."""

from __future__ import annotations

from estate.addressing import plan
from estate.model import Estate
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.kubernetes.kubeconfig import bureau_kubeconfig, operator_kubeconfig
from playbooks.secrets import Secrets
from stacks.components.secrets import as_secrets
from stacks.phases import DATA
from stacks.runs import workspace
from stacks.state import state_files
from workstation.errors import GovcloudError

UP = "run `./govcloud up data` first: it creates them"


def render(estate: Estate, site: str, bureau: str = "") -> str:
    """Return the kubeconfig of a bureau, or of the operator if no bureau is named. The text is secret.

    Raise GovcloudError if the certificate does not exist yet.
    """
    secrets = stored_secrets().clusters.get(site)
    if secrets is None:
        raise GovcloudError(f"the cluster of {site} has no certificates yet", UP)
    if not bureau:
        return operator_kubeconfig(estate, plan(estate), site, secrets)
    own = secrets.certificates.get(kubernetes_pki.bureau(bureau))
    if own is None:
        raise GovcloudError(f"{bureau} has no certificate for the cluster of {site} yet", UP)
    return bureau_kubeconfig(estate, plan(estate), site, bureau, secrets.authority, own)


def stored_secrets() -> Secrets:
    """Read the estate's secrets from the state. Raise GovcloudError if there are no secrets yet."""
    if not state_files.checkpoint(DATA).exists():
        raise GovcloudError("the estate has no secrets yet", UP)
    workspace.prepare()
    found = workspace.open_stack(DATA).exports().get("secrets")
    if found is None:
        raise GovcloudError("the estate has no secrets yet", UP)
    return as_secrets(found.value)

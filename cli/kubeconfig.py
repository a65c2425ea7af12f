"""`kubeconfig`: access to a site's Kubernetes cluster for the operator or for a bureau."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import error_boundary, load_estate, need_root
from stacks.kubeconfig import render
from workstation.errors import GovcloudError, validated_choice

app = typer.Typer()


@app.command()
def kubeconfig(
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="The site of the cluster.")],
    bureau: Annotated[
        str | None,
        typer.Option(
            "--bureau",
            metavar="BUREAU",
            help="Access for this bureau's staff, in its own namespace.",
            show_default="operator",
        ),
    ] = None,
) -> None:
    """Print a kubeconfig for a site's cluster, for the operator or for a bureau's staff.

    It contains a private key: hand it over on a secure channel.
    """
    with error_boundary():
        estate = load_estate()
        validated_choice(site, [each.name for each in estate.sites], "site")
        if bureau is not None:
            validated_choice(bureau, [each.name for each in estate.bureaus], "bureau")
        if estate.cluster_at(site) is None:
            clusters = ", ".join(cluster.site for cluster in estate.clusters) or "none"
            raise GovcloudError(f"{site} has no Kubernetes cluster", f"sites with one: {clusters}")
        need_root("reading the estate's secrets")
        print(render(estate, site, bureau or ""), end="")

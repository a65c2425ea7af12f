"""The plugin executable's program: `python -m stacks.providers.kubernetes ENGINE`."""

from __future__ import annotations

import sys
from importlib import metadata

from stacks.providers.kubernetes.provider import Kubernetes
from stacks.providers.server import serve

PLUGIN = "pulumi-resource-kubernetes"


def main() -> None:
    """Serve the provider under the version of the installed SDK."""
    serve(sys.argv[1:], Kubernetes(), PLUGIN, metadata.version("pulumi-kubernetes"))


if __name__ == "__main__":
    main()

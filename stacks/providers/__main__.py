"""The plugin executable's program: `python -m stacks.providers ENGINE`."""

from __future__ import annotations

import sys

from stacks.providers.certificates import Authority, Certificate
from stacks.providers.health_gate import HealthGate
from stacks.providers.image import Image
from stacks.providers.last_site_guard import LastSiteGuard
from stacks.providers.password import Password
from stacks.providers.playbook import Playbook
from stacks.providers.server import Govcloud, serve


def main() -> None:
    """Serve all resource types."""
    serve(
        sys.argv[1:],
        Govcloud(
            {
                "Playbook": Playbook(),
                "Authority": Authority(),
                "Certificate": Certificate(),
                "Password": Password(),
                "Image": Image(),
                "Gate": HealthGate(),
                "Permit": LastSiteGuard(),
            }
        ),
    )


if __name__ == "__main__":
    main()

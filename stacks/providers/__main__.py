"""The plugin executable's program: `python -m stacks.providers ENGINE`."""

from __future__ import annotations

import sys

from stacks.providers.image import Image
from stacks.providers.password import Password
from stacks.providers.permit import Permit
from stacks.providers.pki import Authority, Certificate
from stacks.providers.playbook import Playbook
from stacks.providers.server import Govcloud, serve
from stacks.providers.sitegate import Gate


def main() -> None:
    """Serve all resources."""
    serve(
        sys.argv[1:],
        Govcloud(
            {
                "Playbook": Playbook(),
                "Authority": Authority(),
                "Certificate": Certificate(),
                "Password": Password(),
                "Image": Image(),
                "Gate": Gate(),
                "Permit": Permit(),
            }
        ),
    )


if __name__ == "__main__":
    main()

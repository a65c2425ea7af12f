"""A lab of five machines for tests of the lab itself: one data disk, one peer, several links.

`python -m tests.lab.small_lab up|down` starts or removes it from another process, like another operator.
"""

from __future__ import annotations

import sys

from estate import loader
from estate.model import Estate
from lab.api import Lab
from workstation.errors import GovcloudError
from workstation.progress import say

MACHINES = ("futian-edge1", "futian-data1", "nanshan-edge1", "shaoguan-edge1", "internet-edge1")
DATA_HOST, EDGE_HOST, SITE, LINK = "futian-data1", "nanshan-edge1", "nanshan", "ft-sg"
INTERRUPTED = 130


def small_estate() -> Estate:
    """Return the project's estate with only these machines and the links between them."""
    estate = loader.load()
    hosts = tuple(host for host in estate.hosts if host.name in MACHINES)
    links = tuple(link for link in estate.links if {*link.ends} <= {*MACHINES})
    return estate.model_copy(update={"hosts": hosts, "links": links, "vantages": ()})


def main(command: str) -> int:
    """Run `up` or `down` and return the exit code. Progress and errors go to standard error."""
    lab = Lab(small_estate())
    try:
        {"up": lab.up, "down": lab.down}[command](on_event=say)
    except GovcloudError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

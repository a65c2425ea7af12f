"""`python -m lab up|down|status|power on|off|cut|heal|shell`: the lab without the govcloud command."""

from __future__ import annotations

import os
import sys

from estate import loader
from lab.api import Lab
from workstation.errors import GovcloudError
from workstation.progress import say


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    lab = Lab(loader.load())
    match argv:
        case ["up"]:
            lab.up(on_event=say)
        case ["down"]:
            lab.down(on_event=say)
        case ["status"]:
            print(lab.status().as_text())
        case ["power", "on", *targets]:
            lab.power_on(targets, wait=True)
        case ["power", "off", *targets]:
            lab.power_off(targets)
        case ["cut", link]:
            lab.cut(link)
        case ["heal", link]:
            lab.heal(link)
        case ["shell", host, *command]:
            line = lab.shell_argv(host, command)
            os.execvp(line[0], line)
        case _:
            say(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GovcloudError as error:
        say(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted; the started parts are still there: `up` rebuilds the lab, `down` removes it")
        sys.exit(130)

"""Entry point of plain `pulumi up` with the official distribution: runs the program of the selected stack."""

from __future__ import annotations

import pulumi

from estate.loader import EstateError, load
from stacks.programs import pod_images
from stacks.programs.context import current_context
from stacks.programs.program import program
from workstation.errors import GovcloudError


def main() -> None:
    """Declare the selected stack. It does not wait for the sites in the stack setting `govcloud:without`."""
    stack = pulumi.get_stack()
    without = (pulumi.Config("govcloud").get("without") or "").replace(",", " ").split()
    try:
        declare = program(current_context(load(), stack, without, pod_images.remembered()), stack)
    except (GovcloudError, EstateError) as error:
        raise pulumi.RunError(str(error)) from None
    except KeyError as error:
        raise pulumi.RunError(str(error.args[0])) from None
    declare()


main()

"""What plain `pulumi up` runs with the official distribution: the program of the selected stack."""

from __future__ import annotations

import pulumi

from estate.loader import load
from stacks import state
from stacks.programs import program


def main() -> None:
    """Declare the selected stack. Sites named in the stack setting `govcloud:without` are not waited for."""
    stack = pulumi.get_stack()
    without = (pulumi.Config("govcloud").get("without") or "").replace(",", " ").split()
    program(state.context(load(), stack, without), stack)()


main()

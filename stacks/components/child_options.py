"""Options of a component's own resources. Pulumi passes on parent and provider, but not `depends_on`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pulumi


def child_options(
    component: pulumi.ComponentResource, opts: pulumi.ResourceOptions | None
) -> Callable[..., pulumi.ResourceOptions]:
    """Return a function that makes the options of a child.

    Each child depends on everything the component depends on.
    """
    outer = pulumi.ResourceOptions(depends_on=opts.depends_on if opts else None)

    def options(depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        own = pulumi.ResourceOptions(parent=component, depends_on=list(depends_on))
        return pulumi.ResourceOptions.merge(outer, own)

    return options

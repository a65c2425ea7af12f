"""Options of a component's own resources: parent and provider follow from the component, waiting does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pulumi


def child_options(
    component: pulumi.ComponentResource, opts: pulumi.ResourceOptions | None
) -> Callable[..., pulumi.ResourceOptions]:
    """Makes them: what the component was told to wait for, each of its resources waits for too."""
    outer = pulumi.ResourceOptions(depends_on=opts.depends_on if opts else None)

    def options(depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        own = pulumi.ResourceOptions(parent=component, depends_on=list(depends_on))
        return pulumi.ResourceOptions.merge(outer, own)

    return options

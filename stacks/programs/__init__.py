"""Programs of the stacks: each declares the resources of one stack, read from the estate."""

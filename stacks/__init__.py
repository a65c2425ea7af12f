"""Estate to Pulumi: programs, components, our own provider, and the engine that runs them."""

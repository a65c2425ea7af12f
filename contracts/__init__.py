"""The contracts of the services: `services/<name>/service.yaml` declares what the software of a service needs.

The platform iterates over the contracts and names no service. This package knows nothing of a city: placement, sizes,
promises and names for people are in the estate, and code of a service stays in its own folder.
"""

"""The provider `kubernetes` for sites that cannot fetch the official plugin; the same SDK, the same state.

objects, quantities, checkpoint, secrecy, compare, immutable, ownership, readiness   pure: plain objects in and out
kubeconfig, api, kinds, waiting                                                      the cluster
provider                                                                             what the engine asks
"""

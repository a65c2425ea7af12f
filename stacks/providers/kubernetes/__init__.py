"""The provider `kubernetes` for sites that cannot fetch the official plugin; the same SDK, the same state.

objects, quantities, state_format, redaction, object_diff, immutable_fields, field_ownership, readiness   pure
kubeconfig, api, discovery, wait, lifecycle, rollback, revision_objects                                   the cluster
settings, request_context, provider                                                                       the engine
"""

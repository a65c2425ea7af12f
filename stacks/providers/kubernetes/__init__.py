"""The provider `kubernetes` for sites that cannot fetch the official plugin. It uses the same SDK and the same state.

Pure rules:   objects, quantities, state_format, redaction, object_diff, immutable_fields, field_ownership, readiness
Cluster:      kubeconfig, api, discovery, wait, lifecycle, rollback, revision_objects
Engine:       settings, request_context, provider
"""

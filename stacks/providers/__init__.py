"""The provider `govcloud`: host configurations, certificates and passwords as Pulumi resources.

It does not import the estate.
"""

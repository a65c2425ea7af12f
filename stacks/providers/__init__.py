"""The provider `govcloud`: host configurations, certificates and passwords as Pulumi resources. Knows no estate."""

"""Paths on hosts that a renderer fills and the monitors read."""

from __future__ import annotations

from estate.model import Host

PKI = "/etc/govcloud/pki"
"""The host's own certificate and the estate's CA certificate."""
CA_FILE, CERT_FILE, KEY_FILE = f"{PKI}/ca.crt", f"{PKI}/host.crt", f"{PKI}/host.key"
POSTGRESQL_VERSION = 15
POSTGRESQL_PROGRAMS = f"/usr/lib/postgresql/{POSTGRESQL_VERSION}/bin"
"""Debian's `psql` on the PATH is a Perl program. It costs twice as much processor time as the one in this folder."""
KUBERNETES = "/etc/kubernetes"
KUBERNETES_PKI = f"{KUBERNETES}/pki"


def data_folder(host: Host) -> str:
    """Return the folder for data: the host's own data disk if it has one."""
    return host.disk.mount if host.disk else "/var/lib"


def kept_forks(host: Host) -> str:
    """Return the folder in which the host keeps diverged WAL: one subfolder with a report for each divergence."""
    return f"{data_folder(host)}/diverged"

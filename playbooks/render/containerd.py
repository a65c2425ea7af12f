"""Role containerd: the container runtime of a Kubernetes node. Its images are on the host's data disk.

Images come only from the site's own registry, by digest. The pause image is part of the role, so that a node can start
pods after a power loss even if everything else is down.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks import host_programs
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.kubernetes.cluster import (
    CNI_SETTINGS,
    CONTAINERD,
    CONTAINERD_SOCKET,
    REGISTRY,
    REGISTRY_PORT,
    cluster_of,
    control_plane_host,
    data_directory,
    on_disk,
)
from playbooks.render.pki import AUTHORITY_FILE, CERT_FILE, KEY_FILE
from playbooks.render.text import header_comment, join_lines

CONFIG_FILE = "/etc/containerd/config.toml"
MIRRORS = "/etc/containerd/certs.d"
PROGRAM = "/usr/local/bin/containerd"
CNI_PROGRAMS = "/opt/cni/bin"
UNIT_FILE = f"/etc/systemd/system/{CONTAINERD}"
PAUSE = f"{host_programs.DIRECTORY}/pause-image"
PAUSE_IMAGE = "localhost/govcloud/pause:1"
"""Built on the host from Debian's catatonit. It is never pulled."""


def role_spec(estate: Estate, plan: AddressPlan, host: Host) -> RoleSpec:
    """Return the role of a node. Raise ValueError if the host is not a node."""
    cluster_of(estate, host)
    restart = (f"restart:{CONTAINERD}",)
    return RoleSpec(
        role="containerd",
        files=(
            File(path=CONFIG_FILE, text=config(host), validate=f"{PROGRAM} --config %s config dump", notify=restart),
            File(path=f"{MIRRORS}/{REGISTRY}/hosts.toml", text=mirror(estate, plan, host)),
            File(path=PAUSE, text=host_programs.source("pause_image"), mode="0755", notify=restart),
            File(path=UNIT_FILE, text=unit(host), notify=restart),
        ),
        units=(Unit(name=CONTAINERD),),
    )


def config(host: Host) -> str:
    """Return containerd's settings. A nested host can neither load AppArmor profiles nor lower its OOM score."""
    nested = str(host.platform.nested).lower()
    return header_comment("containerd", host.name) + join_lines(
        "version = 4",
        f'root = "{data_directory(host, "containerd")}"',
        'state = "/run/containerd"',
        # Both plugins only serve other container engines.
        'disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]',
        "",
        "[plugins.'io.containerd.server.v1.grpc']",
        f'address = "{CONTAINERD_SOCKET}"',
        "",
        "[plugins.'io.containerd.cri.v1.images']",
        'snapshotter = "overlayfs"',
        "# Or a loss of power soon after a pull leaves images that are known, and empty.",
        "image_pull_with_sync_fs = true",
        "",
        "[plugins.'io.containerd.cri.v1.images'.pinned_images]",
        f'sandbox = "{PAUSE_IMAGE}"',
        "",
        "[plugins.'io.containerd.cri.v1.images'.registry]",
        f'config_path = "{MIRRORS}"',
        "",
        "[plugins.'io.containerd.cri.v1.runtime']",
        f"disable_apparmor = {nested}",
        f"restrict_oom_score_adj = {nested}",
        "",
        "[plugins.'io.containerd.cri.v1.runtime'.cni]",
        f'bin_dirs = ["{CNI_PROGRAMS}"]',
        f'conf_dir = "{CNI_SETTINGS}"',
        "",
        "[plugins.'io.containerd.cri.v1.runtime'.containerd]",
        'default_runtime_name = "runc"',
        "",
        "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]",
        'runtime_type = "io.containerd.runc.v2"',
        "",
        "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]",
        'BinaryName = "/usr/local/bin/runc"',
        f"SystemdCgroup = {str(not host.platform.nested).lower()}",
    )


def mirror(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the address of the site's registry for the images' name.

    Both sides show certificates of the estate's CA.
    """
    address = plan.lan(control_plane_host(estate, host.at).name).ipv4
    url = f"https://{address}:{REGISTRY_PORT}"
    return header_comment("The site's image registry", host.name) + join_lines(
        f'server = "{url}"',
        "",
        f'[host."{url}"]',
        'capabilities = ["pull", "resolve"]',
        f'ca = "{AUTHORITY_FILE}"',
        f'client = [["{CERT_FILE}", "{KEY_FILE}"]]',
    )


def unit(host: Host) -> str:
    """Return the unit. systemd stops only containerd's own process, so pods keep running while it restarts."""
    return f"""{header_comment("containerd", host.name)}[Unit]
Description=Container runtime
After=network.target
{on_disk(host)}StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={PROGRAM}
ExecStartPost={PAUSE} {PAUSE_IMAGE}
Restart=always
RestartSec=1
Delegate=yes
KillMode=process
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=0
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
"""

"""Where the engine works: its binary and its environment, outside the source tree. Files: see `state.state_files`.

$GOVCLOUD_HOME/engine/bin        our providers' executables, put first on the engine's PATH
$GOVCLOUD_HOME/engine/pulumi.sh  what plain `pulumi up` needs, to be read by a shell
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from pulumi import automation as auto
from pulumi.automation._cmd import PulumiCommand
from semver import VersionInfo

from stacks.runs import inline
from stacks.state import passphrase
from stacks.state.state_files import PROJECT, checkpoint, engine_home, passphrase_file, state_home, write_atomically
from workstation import paths
from workstation.errors import GovcloudError, Refused

PLUGIN = "pulumi-resource-govcloud"
KUBERNETES_PLUGIN = "pulumi-resource-kubernetes"
AT_ONCE = 8
"""Hosts that the engine works on side by side: more only wait for the operator's cores."""
QUIETLY: dict[str, Any] = {"parallel": AT_ONCE, "suppress_outputs": True, "suppress_progress": True}
"""How the engine is run: what it finds and does comes by its events."""


def backend() -> str:
    """The backend's URL, without a file of metadata beside each file: these are not written whole or not at all.

    An engine that is killed, or meets a full disk, while it writes one can never load its checkpoint again.
    """
    return f"file://{state_home()}?metadata=skip"


def engine_binary() -> Path:
    """The pinned engine from the cache, or the installed one. Raises `GovcloudError` where there is none."""
    built = paths.cache() / "artifacts" / "pulumi"
    if built.exists():
        return built
    if installed := shutil.which("pulumi"):
        return Path(installed)
    raise GovcloudError("the Pulumi engine has not been built", "run `./govcloud setup`")


class Engine(PulumiCommand):
    """The engine's command at a known path and version: asking it for its version takes as long as a small run."""

    def __init__(self) -> None:
        self.command = str(engine_binary())
        self.version = VersionInfo.parse(metadata.version("pulumi"))


class Stack(auto.Stack):
    """A stack whose runs are one engine process each: outputs and history are read from the state when wanted."""

    def outputs(self) -> auto.OutputMap:
        """Not asked for after a run."""
        return {}

    def exports(self) -> auto.OutputMap:
        """What the stack's program has exported, secrets in plain text."""
        return super().outputs()

    def info(self, show_secrets: bool = False) -> auto.UpdateSummary:
        """Not asked for after a run: counts come from the events."""
        return auto.UpdateSummary(kind="", start_time=None, message="", environment={}, config={}, result="")  # type: ignore[arg-type]

    def unprotect_all(self) -> None:
        """Lift the protection of every resource: only for a lab that goes."""
        self._run_pulumi_cmd_sync(["state", "unprotect", "--all", "--yes"])


def prepare() -> None:
    """Make what is missing: folders, the provider's executable, the environment for plain `pulumi`."""
    for folder in (engine_home() / "bin", state_home()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for sidecar in (state_home() / ".pulumi").rglob("*.attrs"):
        sidecar.unlink(missing_ok=True)  # of a `pulumi` that was run without our URL; see `backend`
    _plugin(PLUGIN, "stacks.providers")
    if official_kubernetes():
        (engine_home() / "bin" / KUBERNETES_PLUGIN).unlink(missing_ok=True)
    else:
        _plugin(KUBERNETES_PLUGIN, "stacks.providers.kubernetes")
    _shell_environment()


def official_kubernetes() -> Path | None:
    """The official plugin, where it is installed: the engine prefers what is on its PATH, so ours must not be there.

    It counts when our engine can find it: in its own home, or on the operator's PATH.
    """
    for plugin in sorted((engine_home() / "pulumi" / "plugins").glob("resource-kubernetes-v*")):
        if (plugin / KUBERNETES_PLUGIN).exists():
            return plugin
    found = shutil.which(KUBERNETES_PLUGIN)
    return Path(found) if found else None


def environment() -> dict[str, str]:
    """The engine's environment. Nothing in it lets the engine look for updates or plugins on a network."""
    return {
        "PULUMI_BACKEND_URL": backend(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_opener()),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "false",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_OPTION_COLOR": "never",
        "PATH": f"{engine_home() / 'bin'}:{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "GOVCLOUD_HOME": str(paths.home()),
        "GOVCLOUD_CACHE": str(paths.cache()),
    }


def open_stack(name: str, program: Callable[[], None] | None = None) -> Stack:
    """The stack, made where it does not exist, with its settings outside the tree."""
    folder = engine_home() / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    workspace = auto.LocalWorkspace(
        work_dir=str(folder),
        pulumi_home=str(engine_home() / "pulumi"),
        program=program and inline.optimized(program),
        env_vars=environment(),
        secrets_provider="passphrase",
        project_settings=auto.ProjectSettings(name=PROJECT, runtime="python", main=str(folder)),
        pulumi_command=Engine(),
    )
    if checkpoint(name).exists():
        return _existing(name, workspace)
    return Stack.create_or_select(name, workspace)  # type: ignore[return-value]


def _existing(name: str, workspace: auto.LocalWorkspace) -> Stack:
    """Every command names its stack, so an existing one need not be selected by an engine run of its own."""
    stack = Stack.__new__(Stack)
    stack.name, stack.workspace, stack._mode = name, workspace, auto._stack.StackInitMode.SELECT
    return stack


def _opener() -> Path:
    """The passphrase's file. Made with the first state; never for one that exists, which it could not open."""
    if not passphrase_file().exists() and next(checkpoint("any").parent.glob("*.json"), None):
        raise Refused(
            f"{passphrase_file()} is missing, and the state cannot be decrypted without it",
            "restore it from the safe (docs/lost-workstation.md), then run the same command again",
        )
    passphrase.make(passphrase_file())
    return passphrase_file()


def _plugin(name: str, module: str) -> None:
    """A plugin's executable: a script, because which Python and which checkout run is decided here and now."""
    script = (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(paths.repo()))} PYTHONDONTWRITEBYTECODE=1\n"
        "export PYTHONPATH PYTHONDONTWRITEBYTECODE\n"
        f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
    )
    path = engine_home() / "bin" / name
    if path.exists() and path.read_text(encoding="utf-8") == script:
        return
    draft = path.with_name(f".{name}.{os.getpid()}")
    draft.write_text(script, encoding="utf-8")
    draft.chmod(0o755)
    draft.replace(path)


def _shell_environment() -> None:
    """`environment` for people: a file that their shell reads before plain `pulumi up`."""
    fixed = {
        "PULUMI_BACKEND_URL": backend(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file()),
        "GOVCLOUD_HOME": str(paths.home()),
        "GOVCLOUD_CACHE": str(paths.cache()),
        "PYTHONPATH": str(paths.repo()),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in fixed.items()]
    first = shlex.quote(f"{engine_home() / 'bin'}:{Path(sys.executable).parent}")
    text = "\n".join([*lines, f"export PATH={first}:$PATH", ""])
    path = engine_home() / "pulumi.sh"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text.encode())

"""The engine's binary, environment and folders, outside the source tree. For the files see `state.state_files`.

$GOVCLOUD_HOME/engine/bin        executables of our providers, first on the engine's PATH
$GOVCLOUD_HOME/engine/pulumi.sh  settings for plain `pulumi up`, to be sourced by a shell
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
from semver import VersionInfo

from stacks.runs import inline
from stacks.runs.pulumi_private import NamedStack
from stacks.state import passphrase
from stacks.state.state_files import PROJECT, checkpoint, engine_home, passphrase_file, state_home
from workstation import atomic_write, paths
from workstation.errors import GovcloudError, Refused

PLUGIN = "pulumi-resource-govcloud"
KUBERNETES_PLUGIN = "pulumi-resource-kubernetes"
AT_ONCE = 8
"""Hosts that one engine changes in parallel. More hosts would only wait for the operator's cores."""
RUN_OPTIONS: dict[str, Any] = {"parallel": AT_ONCE, "suppress_outputs": True, "suppress_progress": True}
"""Options of every engine run. Results and progress come from the engine's events, not from its output."""


def backend() -> str:
    """Return the backend's URL, without a metadata file for each file: the backend does not write those atomically.

    An engine that is killed while it writes such a file, or that meets a full disk, can never load its checkpoint
    again.
    """
    return f"file://{state_home()}?metadata=skip"


def engine_binary() -> Path:
    """Return the pinned engine from the cache, or an installed one. Raise `GovcloudError` if there is none."""
    built = paths.cache() / "artifacts" / "pulumi"
    if built.exists():
        return built
    if installed := shutil.which("pulumi"):
        return Path(installed)
    raise GovcloudError("the Pulumi engine has not been built", "run `./govcloud setup`")


class Engine(auto.PulumiCommand):
    """The engine's command with a fixed path and version. To ask it for its version takes as long as a small run."""

    def __init__(self) -> None:
        self.command = str(engine_binary())
        self.version = VersionInfo.parse(metadata.version("pulumi"))


class Workspace(auto.LocalWorkspace):
    """A workspace that selects no stack: every command names its stack, so that needs no engine run."""

    def select_stack(self, stack_name: str) -> None:
        """Raise `StackNotFoundError` if the stack does not exist."""
        if not checkpoint(stack_name).exists():
            raise auto.StackNotFoundError(auto.CommandResult(stdout="", stderr=stack_name, code=1))


class Stack(NamedStack):
    """A stack whose runs are one engine process each. Outputs and history are read from the state only on request."""

    def outputs(self) -> auto.OutputMap:
        """Return nothing: outputs are not read after a run."""
        return {}

    def exports(self) -> auto.OutputMap:
        """Return the outputs that the stack's program exported, secrets in plain text."""
        return super().outputs()

    def info(self, show_secrets: bool = False) -> auto.UpdateSummary:
        """Return an empty summary: counts come from the events."""
        return auto.UpdateSummary(kind="", start_time=None, message="", environment={}, config={}, result="")  # type: ignore[arg-type]

    def unprotect_all(self) -> None:
        """Remove the protection of every resource. Only for a lab that is destroyed."""
        variables = {**self.workspace.env_vars, "PULUMI_HOME": str(self.workspace.pulumi_home)}
        argv = ["state", "unprotect", "--all", "--yes", "--stack", self.name]
        self.workspace.pulumi_command.run(argv, self.workspace.work_dir, variables)


def prepare() -> None:
    """Create missing files: folders, the providers' executables, and the settings for plain `pulumi`."""
    for folder in (engine_home() / "bin", state_home()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for sidecar in (state_home() / ".pulumi").rglob("*.attrs"):
        sidecar.unlink(missing_ok=True)  # left by a `pulumi` run without our URL; see `backend`
    _plugin(PLUGIN, "stacks.providers")
    if official_kubernetes():
        (engine_home() / "bin" / KUBERNETES_PLUGIN).unlink(missing_ok=True)
    else:
        _plugin(KUBERNETES_PLUGIN, "stacks.providers.kubernetes")
    _shell_environment()


def official_kubernetes() -> Path | None:
    """Return the official plugin if it is installed. The engine prefers plugins on its PATH, so ours must not be there
    then.

    The plugin counts if our engine can find it: in the engine's own home, or on the operator's PATH.
    """
    for plugin in sorted((engine_home() / "pulumi" / "plugins").glob("resource-kubernetes-v*")):
        if (plugin / KUBERNETES_PLUGIN).exists():
            return plugin
    found = shutil.which(KUBERNETES_PLUGIN)
    return Path(found) if found else None


def environment() -> dict[str, str]:
    """Return the engine's environment. It prevents downloads of updates and plugins."""
    return {
        "PULUMI_BACKEND_URL": backend(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_require_passphrase()),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "false",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_OPTION_COLOR": "never",
        "PATH": f"{engine_home() / 'bin'}:{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "GOVCLOUD_HOME": str(paths.home()),
        "GOVCLOUD_CACHE": str(paths.cache()),
    }


def open_stack(name: str, program: Callable[[], None] | None = None) -> Stack:
    """Open the stack, and create it if it does not exist. Its settings are outside the source tree."""
    folder = engine_home() / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    workspace = Workspace(
        work_dir=str(folder),
        pulumi_home=str(engine_home() / "pulumi"),
        program=program and inline.optimized(program),
        env_vars=environment(),
        secrets_provider="passphrase",
        project_settings=auto.ProjectSettings(name=PROJECT, runtime="python", main=str(folder)),
        pulumi_command=Engine(),
    )
    return Stack(name, workspace)


def _require_passphrase() -> Path:
    """Return the passphrase file.

    Create it with the first state only: a new one could not decrypt an existing state.
    """
    if not passphrase_file().exists() and next(checkpoint("any").parent.glob("*.json"), None):
        raise Refused(
            f"{passphrase_file()} is missing, and the state cannot be decrypted without it",
            "restore it from the safe (docs/lost-workstation.md), then run the same command again",
        )
    passphrase.make(passphrase_file())
    return passphrase_file()


def _plugin(name: str, module: str) -> None:
    """Write a plugin's executable: a script that fixes the Python and the checkout in use now."""
    script = (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(paths.repo()))} PYTHONPYCACHEPREFIX={shlex.quote(str(paths.bytecode()))}\n"
        "export PYTHONPATH PYTHONPYCACHEPREFIX\n"
        f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
    )
    path = engine_home() / "bin" / name
    if path.exists() and path.read_text(encoding="utf-8") == script:
        return
    atomic_write.write(path, script, mode=0o755)


def _shell_environment() -> None:
    """Write the variables of `environment` to a file that a shell sources before plain `pulumi up`."""
    fixed = {
        "PULUMI_BACKEND_URL": backend(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file()),
        "GOVCLOUD_HOME": str(paths.home()),
        "GOVCLOUD_CACHE": str(paths.cache()),
        "PYTHONPATH": str(paths.repo()),
        "PYTHONPYCACHEPREFIX": str(paths.bytecode()),
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in fixed.items()]
    first = shlex.quote(f"{engine_home() / 'bin'}:{Path(sys.executable).parent}")
    text = "\n".join([*lines, f"export PATH={first}:$PATH", ""])
    path = engine_home() / "pulumi.sh"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        atomic_write.write(path, text)

"""`govcloud:index:Playbook`: the configuration that one stack declares for one host.

Create and update run the host's roles. Read compares the host in one call and returns its actual state. The next
preview then shows the lines that would change. Delete ends the management and removes nothing from the host.
Updates of a live estate change one host at a time (`serial_rollout`). First builds configure hosts in parallel.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckFailure

from playbooks.host_spec import KINDS, SECRETS, HostSpec, settings_of
from stacks.providers import host_locks, last_site_guard, serial_rollout
from stacks.providers.resource import Call, Resource, ResourceFailed
from stacks.providers.values import Properties, is_unknown, plain, plain_map, to_property
from stacks.state import checkpoints
from workstation import paths
from workstation.errors import GovcloudError

if TYPE_CHECKING:
    from playbooks.compare import Difference
    from playbooks.runner import Event

APPLY_TIMEOUT_S = 900.0
"""Longest time for one host: a first installation of packages from a slow mirror."""
READ_TIMEOUT_S = 45.0
FOUND = "differences"
"""Output that describes the differences that a read found; absent if the host is as declared."""
APPLIED = "applied"
"""Output with the fingerprint of the inputs that were applied last."""
GUARDS = "gate"
"""Input with the last-site guards that are checked before a declared change. A difference in it is not a change."""
OTHERWISE = "differs from what was applied: "
"""Replaces the text of a secret file that was changed on the host. The hash of the actual text follows it."""


class Playbook(Resource):
    """Inputs as in `playbooks.host_spec`, and `instance`, the host's estate instance.

    Outputs are the same values, as found on the host, and `differences`.
    """

    inputs = ("host", "address", "instance", "roles", *KINDS, SECRETS, GUARDS)
    compared = ("host", "address", "instance", "roles", *KINDS, SECRETS, FOUND)
    declared = ("host", "instance", "roles", *KINDS, SECRETS)
    replaced_by = ("host",)

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Do not start further hosts. Hosts that have begun are finished."""
        self._cancelled = True

    def check(self, news: Properties) -> list[CheckFailure]:
        """Return the failures of `Resource.check`, and one for every file without an absolute path."""
        failures = super().check(news)
        if failures or any(is_unknown(news[key]) for key in self.inputs):
            return failures
        bad = [path for path in plain(news["files"]) if not path.startswith("/")]
        return [CheckFailure("files", f"{path} is not an absolute path") for path in bad]

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Configure the host for the first time and begin its management."""
        host = plain(news["host"])
        if not call.preview:
            await self._apply(news, call)
        return host, self._outputs(news)

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Wait for the rollout lock, then apply the new inputs."""
        if not call.preview:
            with serial_rollout.rollout_lock(plain(news["host"])) as lock:
                await asyncio.to_thread(lock.wait)
                await asyncio.to_thread(self._check_last_site_guards, olds, news)
                lock.begun = True
                await self._apply(news, call)
        return self._outputs(news)

    async def read(
        self, resource_id: str, state: Properties, inputs: Properties, call: Call
    ) -> tuple[str, Properties, Properties]:
        """Compare the host with the applied inputs. Without inputs, import the host given as `HOST@ADDRESS`."""
        if not inputs:
            adopted = await asyncio.to_thread(_adopt, resource_id)
            return plain(adopted["host"]), adopted, adopted
        found = await asyncio.to_thread(_compare, plain_map(inputs))
        applied = {APPLIED: state[APPLIED]} if APPLIED in state else {}
        return resource_id, {**actual_state(inputs, found), **applied}, inputs

    async def delete(self, resource_id: str, state: Properties, call: Call) -> None:
        """End the management. Nothing is removed from the host."""
        call.say(f"{resource_id}: management ends, nothing is removed from the host")

    def _outputs(self, news: Properties) -> Properties:
        if any(is_unknown(item) for item in news.values()):
            return dict(news)
        return {**news, APPLIED: to_property(declared_fingerprint(plain_map(news), self.declared))}

    def _check_last_site_guards(self, olds: Properties, news: Properties) -> None:
        values = plain_map(news)
        applied = olds[APPLIED].value if APPLIED in olds else ""
        if applied != declared_fingerprint(values, self.declared):
            last_site_guard.check(values["host"], values[GUARDS])

    async def _apply(self, news: Properties, call: Call) -> None:
        values = plain_map(news)
        if self._cancelled:
            raise ResourceFailed(f"{values['host']}: not changed, because the run was cancelled")
        await asyncio.to_thread(_back_up_state, values["host"], call.stack)
        await asyncio.to_thread(_apply, values, call)


def _back_up_state(host: str, stack: str) -> None:
    """Back up the state before the host receives its files and passwords: a lost password cannot be recovered."""
    try:
        checkpoints.back_up(stack)
    except checkpoints.TruncatedCheckpoint as error:
        raise ResourceFailed(f"{host}: not changed: {error.message}") from error
    except OSError as error:
        why = f"the state of {stack} cannot be backed up: {error.strerror or error}"
        raise ResourceFailed(f"{host}: not changed: {why}") from error


def _apply(values: dict[str, Any], call: Call) -> None:
    from playbooks.runner import apply
    from workstation.ssh import Access

    host, seen = values["host"], set[str]()
    roles = {role["role"] for role in values["roles"]}

    def on_event(event: Event) -> None:
        if event.role in roles and event.role not in seen:
            seen.add(event.role)
            call.say(f"{host}: {event.role}")

    try:
        with host_locks.exclusive(host, call.say):
            apply(
                cast(HostSpec, values),
                Access.default(),
                artifacts=paths.cache() / "artifacts",
                on_event=on_event,
                timeout_s=call.timeout_s or APPLY_TIMEOUT_S,
            )
    except GovcloudError as error:
        raise ResourceFailed(error.message) from error


def _compare(values: dict[str, Any]) -> tuple[Difference, ...]:
    from playbooks.compare import compare
    from workstation.ssh import Access

    try:
        wanted = cast(HostSpec, values)
        return compare(wanted, Access.default(), timeout_s=READ_TIMEOUT_S, installs=_installs(wanted))
    except GovcloudError as error:
        raise ResourceFailed(f"{values['host']}: cannot be compared: {error.message}") from error


def _installs(wanted: HostSpec) -> dict[str, str]:
    """Return the hashes of the install parts by role.

    A role whose version was never built on this machine has no hash. Its version is a setting of the role, so the
    comparison of the settings already shows the change.
    """
    from playbooks.install_hash import ArtifactMissing, install_hash, version_of

    artifacts, found = paths.cache() / "artifacts", dict[str, str]()
    for role in wanted["roles"]:
        version = version_of(settings_of(wanted, role))
        try:
            found[role["role"]] = install_hash(role["role"], artifacts, version)
        except ArtifactMissing:
            if not version:
                raise
    return found


def _adopt(resource_id: str) -> Properties:
    """Return empty inputs for an imported host. The next preview then shows everything that would change."""
    from workstation import ssh

    host, at, address = resource_id.partition("@")
    if not (host and at and address):
        raise ResourceFailed(
            f"{resource_id}: a Playbook is imported by HOST@ADDRESS, for example futian-edge1@10.127.0.11"
        )
    try:
        ssh.run(ssh.Access.default(), address, ["true"], timeout_s=READ_TIMEOUT_S)
    except GovcloudError as error:
        raise ResourceFailed(f"{host}: cannot be imported: {error.message}") from error
    nothing = {**{key: {} for key in (*KINDS, SECRETS)}, GUARDS: [], "roles": [], "instance": ""}
    return {key: to_property(value) for key, value in {"host": host, "address": address, **nothing}.items()}


def declared_fingerprint(values: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Return the hash of the declared values. It distinguishes a declared change from a manual edit on the host."""
    return hashlib.sha256(json.dumps({key: values.get(key) for key in keys}, sort_keys=True).encode()).hexdigest()


def actual_state(inputs: Properties, found: tuple[Difference, ...]) -> Properties:
    """Return the outputs after a read: the inputs with the actual values, and the differences as text."""
    trees = (*KINDS, SECRETS)
    state = {key: _Tree(inputs[key]) if key in trees else inputs[key] for key in inputs}
    secrets = state.get(SECRETS)
    words: dict[str, Any] = {}
    for item in found:
        words[f"{item.kind} {item.name}: {item.aspect}"] = str(item)
        tree = state.get(f"{item.kind}s")
        if isinstance(tree, _Tree):
            tree.put(item)
        if isinstance(secrets, _Tree) and item.aspect == "text":
            secrets.replace(f"file {item.name}", f"{OTHERWISE}{item.actual}")
    outputs = {key: item.value() if isinstance(item, _Tree) else item for key, item in state.items()}
    return {**outputs, FOUND: to_property(words)} if words else outputs


class _Tree:
    """One of the input's maps, into which differences are written. A secret map stays secret."""

    def __init__(self, properties: PropertyValue) -> None:
        self._secret = properties.is_secret
        self._items: dict[str, Any] = plain(properties)

    def put(self, item: Difference) -> None:
        old = self._items.get(item.name)
        if old is None:
            return
        if item.kind == "sysctl":
            self._items[item.name] = "" if item.actual is None else str(item.actual)
        elif item.aspect == "text" and item.actual is None:
            del self._items[item.name]
        elif item.aspect in old and not (item.aspect == "text" and old["secret"]):
            self._items[item.name] = {**old, item.aspect: item.actual}

    def replace(self, name: str, value: str) -> None:
        if name in self._items:
            self._items[name] = value

    def value(self) -> PropertyValue:
        return to_property(self._items).with_secret(self._secret)

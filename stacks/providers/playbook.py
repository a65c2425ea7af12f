"""`govcloud:index:Playbook`: all that one stack wants of one host.

Create and update run the host's roles. Read compares the host in one call and answers what is really there, so that the
next preview shows the very lines that would change. Delete ends management and removes nothing from the host.
Updates of a live estate go one host at a time (`serial_rollout`); first builds go side by side.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckFailure, DiffResponse

from stacks.providers import host_locks, last_site_guard, serial_rollout, serialization
from stacks.providers.resource import Call, Resource, ResourceFailed, differences
from stacks.providers.values import Properties, is_unknown, plain, plain_map, to_property
from stacks.state import checkpoints
from workstation import paths
from workstation.errors import GovcloudError

if TYPE_CHECKING:
    from playbooks.compare import Difference
    from playbooks.runner import Event

APPLY_TIMEOUT_S = 900.0
"""Longest that one host may take: a first installation from packages on a slow mirror."""
READ_TIMEOUT_S = 45.0
FOUND = "differences"
"""Output that tells in words what a read found; absent where the host is as declared."""
APPLIED = "applied"
"""Output: fingerprint of the inputs that were applied last."""
GUARD = "gate"
"""Input that says whom to ask before a declared change; no difference in it is a change."""
OTHERWISE = "differs from what was applied: "
"""Stands for the text of a secret file that was changed on the host, before the hash of what is there."""


class Playbook(Resource):
    """Inputs as in `shape`; outputs are the same, as found on the host, and `differences`."""

    inputs = ("host", "address", "instance", "roles", *serialization.KINDS, serialization.SECRETS, GUARD)
    compared = ("host", "address", "instance", "roles", *serialization.KINDS, serialization.SECRETS, FOUND)
    declared = ("host", "instance", "roles", *serialization.KINDS, serialization.SECRETS)
    replaced_by = ("host",)

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Hosts that have not begun are left as they are; those that have are finished."""
        self._cancelled = True

    def check(self, news: Properties) -> list[CheckFailure]:
        """Names every file without an absolute path, and what `Resource.check` finds."""
        failures = super().check(news)
        if failures or any(is_unknown(news[key]) for key in self.inputs):
            return failures
        bad = [path for path in plain(news["files"]) if not path.startswith("/")]
        return [CheckFailure("files", f"{path} is no absolute path") for path in bad]

    def diff(self, olds: Properties, news: Properties) -> DiffResponse:
        """As found on the host against as declared."""
        return differences(plain_map(olds), plain_map(news), self.compared, self.replaced_by)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Take the host under management."""
        host = plain(news["host"])
        if not call.preview:
            await self._apply(news, call)
        return host, self._outputs(news)

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Bring the host to the new inputs, in its turn."""
        if not call.preview:
            with serial_rollout.turn(plain(news["host"])) as turn:
                await asyncio.to_thread(turn.wait)
                await asyncio.to_thread(self._check_last_site_guard, olds, news)
                turn.begun = True
                await self._apply(news, call)
        return self._outputs(news)

    async def read(
        self, resource_id: str, state: Properties, inputs: Properties, call: Call
    ) -> tuple[str, Properties, Properties]:
        """Compare the host with what was applied. Without inputs it is an import, by `HOST@ADDRESS`."""
        if not inputs:
            adopted = await asyncio.to_thread(_adopt, resource_id)
            return plain(adopted["host"]), adopted, adopted
        found = await asyncio.to_thread(_compare, plain_map(inputs))
        applied = {APPLIED: state[APPLIED]} if APPLIED in state else {}
        return resource_id, {**actual_state(inputs, found), **applied}, inputs

    async def delete(self, resource_id: str, state: Properties, call: Call) -> None:
        """Management ends; the host keeps everything."""
        call.say(f"{resource_id}: management ends, nothing is removed from the host")

    def _outputs(self, news: Properties) -> Properties:
        if any(is_unknown(item) for item in news.values()):
            return dict(news)
        return {**news, APPLIED: to_property(declared_fingerprint(plain_map(news), self.declared))}

    def _check_last_site_guard(self, olds: Properties, news: Properties) -> None:
        values = plain_map(news)
        was = olds[APPLIED].value if APPLIED in olds else ""
        if was != declared_fingerprint(values, self.declared):
            last_site_guard.check(values["host"], values[GUARD])

    async def _apply(self, news: Properties, call: Call) -> None:
        values = plain_map(news)
        if self._cancelled:
            raise ResourceFailed(f"{values['host']}: not begun, the run was cancelled")
        await asyncio.to_thread(_keep, values["host"], call.stack)
        await asyncio.to_thread(_apply, values, call)


def _keep(host: str, stack: str) -> None:
    """What the host will get, its passwords too, must be on the disk before: a lost password cannot be made again."""
    try:
        checkpoints.back_up(stack)
    except checkpoints.TruncatedCheckpoint as error:
        raise ResourceFailed(f"{host}: not begun: {error.message}") from error
    except OSError as error:
        why = f"the state of {stack} cannot be kept: {error.strerror or error}"
        raise ResourceFailed(f"{host}: not begun: {why}") from error


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
                serialization.host_spec(values),
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
        return compare(
            serialization.host_spec(values), Access.default(), timeout_s=READ_TIMEOUT_S, installs=_installs(values)
        )
    except GovcloudError as error:
        raise ResourceFailed(f"{values['host']}: cannot be compared: {error.message}") from error


def _installs(values: dict[str, Any]) -> dict[str, str]:
    """Hashes of the install parts by role. What the state tells of a version that this machine never built has none:
    the version itself, a setting of the role, says that the host is to change."""
    from playbooks.install_hash import ArtifactMissing, install_hash, version_of

    artifacts, found = paths.cache() / "artifacts", dict[str, str]()
    for role in values["roles"]:
        version = version_of(role.get("settings", {}))
        try:
            found[role["role"]] = install_hash(role["role"], artifacts, version)
        except ArtifactMissing:
            if not version:
                raise
    return found


def _adopt(resource_id: str) -> Properties:
    """A host under management of which nothing is declared yet: the next preview shows all that will be."""
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
    nothing = {**{key: {} for key in (*serialization.KINDS, serialization.SECRETS, GUARD)}, "roles": [], "instance": ""}
    return {key: to_property(value) for key, value in {"host": host, "address": address, **nothing}.items()}


def declared_fingerprint(values: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Of what was declared when it was applied: tells a declared change from a hand edit."""
    return hashlib.sha256(json.dumps({key: values.get(key) for key in keys}, sort_keys=True).encode()).hexdigest()


def actual_state(inputs: Properties, found: tuple[Difference, ...]) -> Properties:
    """The outputs after a read: the inputs with what was found put in, and the findings in words."""
    trees = (*serialization.KINDS, serialization.SECRETS)
    state = {key: _Tree(inputs[key]) if key in trees else inputs[key] for key in inputs}
    secrets = state.get(serialization.SECRETS)
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
    """One of the input's maps, into which findings are written; a secret map stays secret."""

    def __init__(self, properties: PropertyValue) -> None:
        self._secret = properties.is_secret
        self._things: dict[str, Any] = plain(properties)

    def put(self, item: Difference) -> None:
        old = self._things.get(item.name)
        if old is None:
            return
        if item.kind == "sysctl":
            self._things[item.name] = "" if item.actual is None else str(item.actual)
        elif item.aspect == "text" and item.actual is None:
            del self._things[item.name]
        elif item.aspect in old and not (item.aspect == "text" and old["secret"]):
            self._things[item.name] = {**old, item.aspect: item.actual}

    def replace(self, name: str, value: str) -> None:
        if name in self._things:
            self._things[name] = value

    def value(self) -> PropertyValue:
        return to_property(self._things).with_secret(self._secret)

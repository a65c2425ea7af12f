"""The engine's requests to the provider `kubernetes`: check, diff, create, read, update, delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import yaml
from pulumi.provider.experimental import provider as sdk
from pulumi.runtime.rpc import UNKNOWN

from stacks.providers.kubernetes import (
    immutable_fields,
    kubeconfig,
    lifecycle,
    object_diff,
    objects,
    readiness,
    revision_objects,
    rollback,
    state_format,
)
from stacks.providers.kubernetes.api import ApiError, Cluster, Unreachable
from stacks.providers.kubernetes.discovery import Kinds
from stacks.providers.kubernetes.lifecycle import ObjectLifecycle
from stacks.providers.kubernetes.objects import Object
from stacks.providers.kubernetes.request_context import RequestContext, manager_of
from stacks.providers.kubernetes.rollback import Rollback, RollbackFailed
from stacks.providers.kubernetes.settings import Settings, refusals, settings
from stacks.providers.kubernetes.wait import Cancelled, NotReady
from stacks.providers.resource import ResourceFailed, Unfinished
from stacks.providers.server import Served
from stacks.providers.values import Properties, is_unknown, plain, plain_map, to_properties, to_property

CLUSTER_SETTINGS = ("kubeconfig", "context", "cluster")


class Kubernetes(Served):
    """The provider for the objects of one cluster."""

    def __init__(self) -> None:
        self._settings = Settings(access={})
        self._cluster: Cluster | None = None
        self._kinds: Kinds | None = None
        self._access: kubeconfig.Access | None = None
        self._stop = asyncio.Event()

    async def check_config(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """Check the provider's settings."""
        news = dict(request.new_inputs)
        given = news.get("kubeconfig")
        if given and isinstance(given.value, Mapping) and not is_unknown(given):
            news["kubeconfig"] = to_property(json.dumps(plain(given))).with_secret(given.contains_secret())
        failures = [sdk.CheckFailure(key, reason) for key, reason in refusals(plain_map(news)).items()]
        return sdk.CheckResponse(inputs=news, failures=failures)

    async def diff_config(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """Compare the settings. Another cluster replaces the provider's objects; other changes update the provider."""
        olds, news = plain_map(request.old_state), plain_map(request.new_inputs)
        changed = sorted(k for k in olds.keys() | news.keys() if k != "version" and olds.get(k) != news.get(k))
        replaces: list[str] = []
        if "clusterIdentifier" in changed and olds.get("clusterIdentifier") and news.get("clusterIdentifier"):
            replaces = ["clusterIdentifier"]
        elif not news.get("clusterIdentifier"):
            before, after = kubeconfig.cluster_of(olds), kubeconfig.cluster_of(news)
            if before and after and before != after:
                replaces = [key for key in changed if key in CLUSTER_SETTINGS]
        return sdk.DiffResponse(changes=bool(changed), replaces=replaces, diffs=changed)

    async def configure(self, request: sdk.ConfigureRequest) -> sdk.ConfigureResponse:
        """Store the settings. The first resource connects to the cluster."""
        variables = dict(request.variables) or {key: str(plain(value)) for key, value in request.args.items()}
        self._settings = settings(variables)
        return sdk.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def cancel(self) -> None:
        """Stop all waits. Started changes are still recorded."""
        self._stop.set()

    async def invoke(self, request: sdk.InvokeRequest) -> sdk.InvokeResponse:
        """Run `yaml.decode`, for the SDK's YAML components."""
        if request.tok != "kubernetes:yaml:decode":
            raise ResourceFailed(f"{request.tok} is not supported by this provider: install the official plugin for it")
        try:
            documents = [item for item in yaml.safe_load_all(plain(request.args["text"])) if item]
        except yaml.YAMLError as error:
            raise ResourceFailed(f"the text is not YAML: {error}") from error
        return sdk.InvokeResponse(return_value={"result": to_property(documents)})

    async def check(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """Return the inputs in normal form, with a name and a namespace."""
        declared = request.new_inputs
        obj = state_format.declared_object(declared)
        if not any(is_unknown(value) for value in declared.values()):
            obj = objects.normalized(obj)
        failures = []
        if objects.annotation(obj, objects.DELETION_PROPAGATION).lower() not in ("", UNKNOWN, *lifecycle.PROPAGATIONS):
            where = f'metadata.annotations["{objects.DELETION_PROPAGATION}"]'
            failures.append(sdk.CheckFailure(where, f"must be one of {', '.join(lifecycle.PROPAGATIONS)}"))
        if isinstance(obj.get("metadata", {}), Mapping):
            if objects.metadata(obj).get("generateName") and not objects.name_of(obj):
                reason = "is not possible with server-side apply: leave it out, and the provider generates a name"
                failures.append(sdk.CheckFailure("metadata.generateName", reason))
            elif objects.is_patch(request.type, obj) and not objects.name_of(obj):
                failures.append(sdk.CheckFailure("metadata.name", "is needed: it says which object is patched"))
            else:
                obj = self._named(obj, state_format.declared_object(request.old_inputs), request)
                try:
                    obj = await self._placed(obj, request)
                except Unreachable as error:
                    if not (self._settings.skip_unreachable and request.old_inputs):
                        raise
                    self.say(request.urn, f"it is not changed: {error}")
                    return sdk.CheckResponse(inputs=request.old_inputs, failures=[])
        return sdk.CheckResponse(inputs=state_format.checked(obj, declared), failures=failures)

    async def diff(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """Compare the last read object, limited to its declared fields, with the newly declared object."""
        former, live = state_format.of_state(request.old_state)
        new = state_format.declared_object(request.new_inputs)
        found = objects.prune(live, objects.normalized(former))
        if isinstance(new.get("metadata"), Mapping):
            found, new = _same_place(found, live, new)
        frozen: tuple[immutable_fields.Path, ...] = immutable_fields.IDENTITY
        if not objects.is_patch(request.type, new):
            frozen = immutable_fields.fields(
                new, config_maps_change=self._settings.config_maps_change, secrets_change=self._settings.secrets_change
            )
        detailed = object_diff.differences(found, new, former, frozen, tuple(request.ignore_changes))
        replaces = object_diff.replacing(detailed)
        if objects.flagged(new, objects.REPLACE_UNREADY) and await self._unfinished(request.urn, new, live):
            replaces.append("status")
        same_name = objects.resource_id(new) == objects.resource_id(live)
        return sdk.DiffResponse(
            changes=bool(detailed or replaces),
            replaces=replaces,
            delete_before_replace=bool(replaces) and same_name and not objects.flagged(new, objects.AUTONAMED),
            diffs=sorted({path.split(".")[0].split("[")[0] for path in detailed}),
            detailed_diff=detailed,
        )

    async def _unfinished(self, urn: str, new: Object, live: Object) -> bool:
        """Return whether a Job has not completed. The state may be old, so read the live Job."""
        if new.get("kind") != "Job":
            self.say(urn, f"{objects.resource_id(new)}: {objects.REPLACE_UNREADY} is for Jobs, so it is ignored")
            return False
        with suppress(ApiError, Unreachable):
            context = RequestContext(urn=urn, obj=live, declared={}, manager="")
            live = await self._life(context).find(live) or live
        return not readiness.done(live)

    async def create(self, request: sdk.CreateRequest) -> sdk.CreateResponse:
        """Apply the object and wait until it is ready."""
        context = _request_context(request.urn, request.properties)
        life, patch = self._life(context), objects.is_patch(request.type, context.obj)
        if request.preview:
            shown = None
            if not patch and not any(is_unknown(value) for value in context.declared.values()):
                shown = await context.run(self._preview_create(life, context.obj))
            return sdk.CreateResponse(resource_id="", properties=_shown(context, shown))
        creation = life.create(context.obj, upsert=patch or self._settings.upsert, given_s=request.timeout)
        live = await self._ready(life, context, await context.run(creation), request.timeout)
        return sdk.CreateResponse(resource_id=objects.resource_id(live), properties=context.state(live))

    async def update(self, request: sdk.UpdateRequest) -> sdk.UpdateResponse:
        """Apply the new inputs and wait until the object is ready. Otherwise roll back if the author requests it."""
        context = _request_context(request.urn, request.news, request.olds)
        former, obj, life = state_format.manager_of(request.olds), context.obj, self._life(context)
        if request.preview:
            shown = None
            if not any(is_unknown(value) for value in context.declared.values()):
                shown = await context.run(self._preview_update(life, obj))
            return sdk.UpdateResponse(properties=_shown(context, shown))
        back = await context.run(self._rollback_of(request, context))
        live = await context.run(life.update(obj))
        if former and former != context.manager:
            await context.run(life.relinquish(obj, former))
        live = await self._ready(life, context, live, request.timeout, back)
        return sdk.UpdateResponse(properties=context.state(live))

    async def read(self, request: sdk.ReadRequest) -> sdk.ReadResponse:
        """Return the live object, for a refresh, an import or a `get`."""
        inputs, live = state_format.declared_object(request.inputs), state_format.of_state(request.properties)[1]
        imported = not inputs.get("kind")
        sought = _identity(request, live if imported else inputs)
        manager = manager_of(request.urn, inputs, state_format.manager_of(request.properties))
        context = RequestContext(
            urn=request.urn, obj=sought, declared=request.inputs, manager=manager, former=request.properties
        )
        life = self._life(context)
        try:
            found = await context.run(life.find(sought))
        except Unreachable as error:
            if self._settings.delete_unreachable:
                self.say(request.urn, f"{request.resource_id}: it is removed from the state: {error}")
                return sdk.ReadResponse("")
            if self._settings.skip_unreachable:
                self.say(request.urn, f"{request.resource_id}: not read: {error}")
                return sdk.ReadResponse(request.resource_id, request.properties, request.inputs)
            raise
        if found is None:
            return sdk.ReadResponse("")
        shape = objects.as_inputs(found) if imported else objects.prune(found, objects.normalized(inputs))
        context = replace(context, obj=shape, declared=request.inputs or to_properties(shape))
        state, kept = context.state(found), state_format.checked(shape, context.declared)
        if not imported and not objects.is_patch(request.type, inputs):
            reason = await _unready(life, inputs, found)
            if reason:
                text = context.redacted(f"{request.resource_id}: not ready: {reason}")
                raise Unfinished(text, request.resource_id, state, kept)
        return sdk.ReadResponse(request.resource_id or objects.resource_id(found), state, kept)

    async def delete(self, request: sdk.DeleteRequest) -> None:
        """Delete the object and wait until it no longer exists. A patch only releases its fields."""
        inputs, live = state_format.of_state(request.properties)
        sought = {**live, "metadata": {**objects.metadata(live)}} if live.get("kind") else _identity(request, inputs)
        manager = state_format.manager_of(request.properties)
        context = RequestContext(urn=request.urn, obj=sought, declared=request.properties, manager=manager)
        life = self._life(context)
        try:
            if objects.is_patch(request.type, inputs):
                await context.run(life.relinquish(sought, manager))
            else:
                ending = (
                    revision_objects.delete_unreferenced
                    if revision_objects.is_revision_object(sought)
                    else ObjectLifecycle.delete
                )
                await context.run(ending(life, sought, lifecycle.timeout_of(inputs, request.timeout)))
        except Unreachable as error:
            if not self._settings.delete_unreachable:
                raise
            self.say(request.urn, f"{request.resource_id}: it is removed from the state: {error}")

    async def _preview_create(self, life: ObjectLifecycle, obj: Object) -> Object | None:
        if await life.place(obj) is None:
            return None
        try:
            return await life.would_create(obj, upsert=self._settings.upsert)
        except ApiError as error:
            if error.code != 422 or not await life.in_the_way(obj, upsert=self._settings.upsert):
                self._pass_over(life, error)
            return None  # the object to be replaced still exists, and the server refuses to change it into the new one

    async def _preview_update(self, life: ObjectLifecycle, obj: Object) -> Object | None:
        if await life.place(obj) is None:
            return None
        try:
            return await life.would_update(obj)
        except ApiError as error:
            self._pass_over(life, error)
            return None

    def _pass_over(self, life: ObjectLifecycle, error: ApiError) -> None:
        """Accept a failed dry run that says nothing about the real run: show the inputs. Raise all other errors."""
        if error.over_quota:
            life.say(f"the quota does not allow it now: {error.message}")
        elif not (error.no_namespace or error.code == 403 or "dry run" in error.message):
            raise error

    async def _ready(
        self,
        life: ObjectLifecycle,
        context: RequestContext,
        live: Object,
        timeout_s: float,
        back: Rollback | None = None,
    ) -> Object:
        try:
            return await life.ready(live, lifecycle.timeout_of(context.obj, timeout_s))
        except NotReady as error:
            live, reason, next_step = error.live, error.reason, "repair it and run the same command again"
        except Cancelled:
            reason, next_step = "the run was cancelled during the wait", "the next run continues"
        except (ApiError, ResourceFailed) as error:  # this says nothing about the new version
            reason, next_step, back = str(error), "", None
        name = objects.resource_id(live)
        if back:
            life.say(reason)
            try:
                outcome = await back.run()
            except RollbackFailed as error:
                next_step = str(error)
            else:
                # Not `Unfinished`: the state keeps the previous version, which is the live version.
                raise ResourceFailed(context.redacted(f"{name}: {reason}; {outcome}"))
        text = f"{name}: {reason}; {next_step}" if next_step else f"{name}: {reason}"
        raise Unfinished(context.redacted(text), name, context.state(live))

    async def _rollback_of(self, request: sdk.UpdateRequest, context: RequestContext) -> Rollback | None:
        """Return the rollback for a failed update; None if the update changes the object's field manager."""
        if not rollback.is_requested(context.obj) or objects.is_patch(request.type, context.obj):
            return None
        if state_format.manager_of(request.olds) != context.manager:
            return None
        former, live = state_format.of_state(request.olds)[0], await self._life(context).find(context.obj)
        before = rollback.previous_version(context.obj, former, live)
        if before is None:
            return None
        timeout_s = lifecycle.timeout_of(context.obj, request.timeout)
        return Rollback(life=self._life(replace(context, obj=before)), former=before, timeout_s=timeout_s)

    def _named(self, obj: Object, old: Object, request: sdk.CheckRequest) -> Object:
        if objects.name_of(obj):
            return obj
        if old and objects.flagged(old, objects.AUTONAMED):
            name = objects.name_of(old)
        elif old and objects.name_of(old):
            return obj
        else:
            name = objects.auto_name(request.name, request.random_seed)
        return objects.with_annotation(objects.with_metadata(obj, name=name), objects.AUTONAMED, "true")

    async def _placed(self, obj: Object, request: sdk.CheckRequest) -> Object:
        """Set the provider's namespace if the kind is namespaced and the object declares none.

        The discovery of the kind also reports an unusable kubeconfig before any other step, even without a change.
        """
        kind = objects.kind_of(obj) if obj.get("apiVersion") and obj.get("kind") else objects.kind_of_type(request.type)
        kinds = self._connected(objects.resource_id(obj))[1]
        context = RequestContext(urn=request.urn, obj=obj, declared=request.new_inputs, manager="")
        place = await context.run(kinds.place(kind))
        namespaced = place.namespaced if place else not objects.is_definition(obj)
        if objects.namespace_of(obj) or not namespaced:
            return obj
        assert self._access
        return objects.with_metadata(obj, namespace=self._access.namespace)

    def _life(self, context: RequestContext) -> ObjectLifecycle:
        cluster, kinds = self._connected(objects.resource_id(context.obj))
        return ObjectLifecycle(
            cluster=cluster,
            kinds=kinds,
            say=lambda line: self.say(context.urn, context.redacted(f"{context.name}: {line}")),
            stop=self._stop,
            manager=context.manager,
            force=self._settings.patch_force or objects.flagged(context.obj, objects.PATCH_FORCE),
        )

    def _connected(self, name: str = "") -> tuple[Cluster, Kinds]:
        """Return the cluster and its kinds. Raises `BadKubeconfig` with the name of the resource that needs it."""
        if self._cluster is None or self._kinds is None:
            try:
                self._access = kubeconfig.access(self._settings.access)
                self._cluster = Cluster(self._access, lambda line: self.say("", line))
            except kubeconfig.BadKubeconfig as error:
                raise kubeconfig.BadKubeconfig(f"{name}: {error}" if name else str(error)) from error
            self._kinds = Kinds(self._cluster)
        return self._cluster, self._kinds


def _request_context(urn: str, declared: Properties, former: Properties | None = None) -> RequestContext:
    obj = state_format.declared_object(declared)
    manager = manager_of(urn, obj, state_format.manager_of(former or {}))
    return RequestContext(urn=urn, obj=obj, declared=declared, manager=manager, former=former or {})


def _shown(context: RequestContext, live: Object | None) -> Properties:
    """Return the outputs of a preview. They have no status, because programs would take it for a real one."""
    if live is None:
        return dict(context.declared)
    return context.state({key: value for key, value in live.items() if key != "status"})


async def _unready(life: ObjectLifecycle, inputs: Object, found: Object) -> str:
    """Return why a refreshed object is not ready. The record makes the next update wait for the object again."""
    if not readiness.waits(inputs):
        return ""
    place = await life.place(found)
    assert place
    verdict = await life.waiter(place).verdict(found)
    return "" if isinstance(verdict, readiness.Ready) else verdict.reason


def _same_place(found: Object, live: Object, new: Object) -> tuple[Object, Object]:
    """Return both objects with the live name and namespace; kinds without namespaces lose the declared one."""
    identity = {"name": objects.name_of(live)} if objects.name_of(new) else {}
    if objects.namespace_of(live):
        return objects.with_metadata(found, **identity, namespace=objects.namespace_of(live)), new
    kept = {key: value for key, value in objects.metadata(new).items() if key != "namespace"}
    return objects.with_metadata(found, **identity), {**new, "metadata": kept}


def _identity(request: Any, known: Object) -> Object:
    """Return the identity of an object. Use the ID and the type if the state does not have the kind."""
    namespace, name = objects.parse_id(request.resource_id)
    kind = objects.kind_of(known) if known.get("kind") else objects.kind_of_type(request.type)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
    }

"""What the engine asks of the provider `kubernetes`: check, diff, create, read, update, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import yaml
from pulumi.provider.experimental import provider as sdk

from stacks.providers.kubernetes import (
    checkpoint,
    compare,
    immutable,
    kubeconfig,
    lifecycle,
    objects,
    readiness,
    rollback,
    secrecy,
    versions,
)
from stacks.providers.kubernetes.api import ApiError, Cluster, Unreachable
from stacks.providers.kubernetes.kinds import Kinds
from stacks.providers.kubernetes.lifecycle import Life
from stacks.providers.kubernetes.objects import Object
from stacks.providers.kubernetes.rollback import NotBack, WayBack
from stacks.providers.kubernetes.settings import Settings, kubeconfig_text, refusals, settings
from stacks.providers.kubernetes.waiting import NotReady, Stopped
from stacks.providers.resource import ResourceFailed, Unfinished
from stacks.providers.server import Served
from stacks.providers.values import Properties, is_unknown, plain, plain_map, wire, wire_map

CLUSTER_SETTINGS = ("kubeconfig", "context", "cluster")
CANCELLED = "the run was cancelled while it was waited for; the next one goes on"


class Kubernetes(Served):
    """One cluster's objects as resources."""

    def __init__(self) -> None:
        self._settings = Settings(access={})
        self._cluster: Cluster | None = None
        self._kinds: Kinds | None = None
        self._access: kubeconfig.Access | None = None
        self._stop = asyncio.Event()

    async def check_config(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """The provider's own settings."""
        news = dict(request.new_inputs)
        if (
            "kubeconfig" in news
            and isinstance(news["kubeconfig"].value, Mapping)
            and not is_unknown(news["kubeconfig"])
        ):
            text = wire(kubeconfig_text(plain(news["kubeconfig"])))
            news["kubeconfig"] = text.with_secret(request.new_inputs["kubeconfig"].contains_secret())
        failures = [sdk.CheckFailure(key, reason) for key, reason in refusals(plain_map(news)).items()]
        return sdk.CheckResponse(inputs=news, failures=failures)

    async def diff_config(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """Another cluster needs other objects; all else is an update of the provider."""
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
        """Settings are kept; the cluster is called when the first resource needs it."""
        variables = dict(request.variables) or {key: str(plain(value)) for key, value in request.args.items()}
        self._settings = settings(variables)
        return sdk.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def cancel(self) -> None:
        """Waits end; what was begun is recorded."""
        self._stop.set()

    async def invoke(self, request: sdk.InvokeRequest) -> sdk.InvokeResponse:
        """`yaml.decode`, for the SDK's YAML components."""
        if request.tok != "kubernetes:yaml:decode":
            raise ResourceFailed(
                f"{request.tok} is not carried out by this provider: install the official plugin for it"
            )
        try:
            documents = [item for item in yaml.safe_load_all(plain(request.args["text"])) if item]
        except yaml.YAMLError as error:
            raise ResourceFailed(f"the text is no YAML: {error}") from error
        return sdk.InvokeResponse(return_value={"result": wire(documents)})

    async def check(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """Normal form, name and namespace."""
        declared = request.new_inputs
        obj = checkpoint.declared_object(declared)
        if not any(is_unknown(value) for value in declared.values()):
            obj = objects.normalized(obj)
        failures = []
        if isinstance(obj.get("metadata", {}), Mapping):
            if objects.metadata(obj).get("generateName") and not objects.name_of(obj):
                reason = "is not possible with server-side apply: leave it out, and a name is made"
                failures.append(sdk.CheckFailure("metadata.generateName", reason))
            elif objects.is_patch(request.type, obj) and not objects.name_of(obj):
                failures.append(sdk.CheckFailure("metadata.name", "is needed: it says which object is patched"))
            else:
                obj = self._named(obj, checkpoint.declared_object(request.old_inputs), request)
                obj = await self._placed(obj, request)
        return sdk.CheckResponse(inputs=checkpoint.checked(obj, declared), failures=failures)

    async def diff(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """What was read last, as far as it was declared, against what is declared now."""
        former, live = checkpoint.of_state(request.old_state)
        new = checkpoint.declared_object(request.new_inputs)
        found = objects.prune(live, objects.normalized(former))
        if isinstance(new.get("metadata"), Mapping):
            found, new = _same_place(found, live, new)
        frozen: tuple[immutable.Path, ...] = immutable.IDENTITY
        if not objects.is_patch(request.type, new):
            frozen = immutable.fields(
                new, config_maps_change=self._settings.config_maps_change, secrets_change=self._settings.secrets_change
            )
        detailed = compare.differences(found, new, former, frozen, tuple(request.ignore_changes))
        replaces = compare.replacing(detailed)
        if objects.flagged(new, objects.REPLACE_UNREADY) and new.get("kind") == "Job":
            replaces += [] if isinstance(readiness.judge(live), readiness.Ready) else ["status"]
        same_name = objects.resource_id(new) == objects.resource_id(live)
        return sdk.DiffResponse(
            changes=bool(detailed or replaces),
            replaces=replaces,
            delete_before_replace=bool(replaces) and same_name and not objects.flagged(new, objects.AUTONAMED),
            diffs=sorted({path.split(".")[0].split("[")[0] for path in detailed}),
            detailed_diff=detailed,
        )

    async def create(self, request: sdk.CreateRequest) -> sdk.CreateResponse:
        """Apply it and wait until it is ready."""
        obj, declared = checkpoint.declared_object(request.properties), request.properties
        manager, patch = _manager(request.urn, obj), objects.is_patch(request.type, obj)
        life = self._life(request.urn, obj, manager, declared)
        if request.preview:
            shown = None
            if not patch and not any(is_unknown(value) for value in declared.values()):
                shown = await self._told(obj, declared, manager, self._preview_create(life, obj))
            state = self._state(obj, shown, declared, manager) if shown else dict(declared)
            return sdk.CreateResponse(resource_id="", properties=state)
        making = life.create(obj, upsert=patch or self._settings.upsert, given_s=request.timeout)
        live = await self._told(obj, declared, manager, making)
        live = await self._ready(life, obj, live, declared, manager, request.timeout)
        return sdk.CreateResponse(
            resource_id=objects.resource_id(live), properties=self._state(obj, live, declared, manager)
        )

    async def update(self, request: sdk.UpdateRequest) -> sdk.UpdateResponse:
        """Apply the new inputs and wait until it is ready again; if it is not, go back where that is asked for."""
        obj, declared = checkpoint.declared_object(request.news), request.news
        former = checkpoint.manager_of(request.olds)
        manager = _manager(request.urn, obj, former)
        life = self._life(request.urn, obj, manager, declared, request.olds)
        if request.preview:
            shown = None
            if not any(is_unknown(value) for value in declared.values()):
                shown = await self._told(obj, declared, manager, self._preview_update(life, obj))
            return sdk.UpdateResponse(
                properties=self._state(obj, shown, declared, manager) if shown else dict(declared)
            )
        back = await self._told(obj, declared, manager, self._way_back(request, obj, manager))
        live = await self._told(obj, declared, manager, life.update(obj))
        if former and former != manager:
            await self._told(obj, declared, manager, life.relinquish(obj, former))
        live = await self._ready(life, obj, live, declared, manager, request.timeout, back)
        return sdk.UpdateResponse(properties=self._state(obj, live, declared, manager))

    async def read(self, request: sdk.ReadRequest) -> sdk.ReadResponse:
        """The object as it is: for a refresh, an import, a `get`."""
        inputs, live = checkpoint.declared_object(request.inputs), checkpoint.of_state(request.properties)[1]
        imported = not inputs.get("kind")
        sought = _identity(request, live if imported else inputs)
        manager = checkpoint.manager_of(request.properties) or _manager(request.urn, inputs)
        life = self._life(request.urn, sought, manager, request.inputs)
        try:
            found = await self._told(sought, request.inputs, manager, life.find(sought))
        except Unreachable as error:
            if self._settings.skip_unreachable:
                self.say(request.urn, f"{request.resource_id}: not read: {error}")
                return sdk.ReadResponse(request.resource_id, request.properties, request.inputs)
            if self._settings.delete_unreachable:
                return sdk.ReadResponse("")
            raise
        if found is None:
            return sdk.ReadResponse("")
        shape = objects.as_inputs(found) if imported else objects.prune(found, objects.normalized(inputs))
        declared = request.inputs or wire_map(shape)
        version = checkpoint.first_version_of(request.properties, inputs or found)
        state = checkpoint.outputs(shape, found, declared, version, manager)
        kept = checkpoint.checked(shape, declared)
        if not imported and not objects.is_patch(request.type, inputs):
            await self._tell_unready(life, inputs, found, request.resource_id, state, kept)
        return sdk.ReadResponse(request.resource_id or objects.resource_id(found), state, kept)

    async def delete(self, request: sdk.DeleteRequest) -> None:
        """End the object and wait until it is gone; a patch only gives its fields up."""
        inputs, live = checkpoint.of_state(request.properties)
        sought = {**live, "metadata": {**objects.metadata(live)}} if live.get("kind") else _identity(request, inputs)
        manager = checkpoint.manager_of(request.properties)
        life = self._life(request.urn, sought, manager, request.properties)
        try:
            if objects.is_patch(request.type, inputs):
                await self._told(sought, request.properties, manager, life.relinquish(sought, manager))
            else:
                timeout_s = lifecycle.timeout_of(inputs, request.timeout)
                ending = versions.end if versions.of_versions(sought) else Life.delete
                await self._told(sought, request.properties, manager, ending(life, sought, timeout_s))
        except Unreachable:
            if not self._settings.delete_unreachable:
                raise

    async def _preview_create(self, life: Life, obj: Object) -> Object | None:
        if await life.place(obj) is None:
            return None
        try:
            return await life.would_create(obj, upsert=self._settings.upsert)
        except ApiError as error:
            if error.code != 422 or not await life.in_the_way(obj, upsert=self._settings.upsert):
                self._pass_over(life, error)
            return None  # one that will be replaced is still there, and refuses in many words to become the new one

    async def _preview_update(self, life: Life, obj: Object) -> Object | None:
        if await life.place(obj) is None:
            return None
        try:
            return await life.would_update(obj)
        except ApiError as error:
            self._pass_over(life, error)
            return None

    def _pass_over(self, life: Life, error: ApiError) -> None:
        """A dry run that says nothing about the run itself: the inputs are shown instead. Raises all others."""
        if error.over_quota:
            life.say(f"it may not be created as things are: {error.message}")
        elif not (error.no_namespace or error.code == 403 or "dry run" in error.message):
            raise error

    async def _ready(
        self,
        life: Life,
        obj: Object,
        live: Object,
        declared: Properties,
        manager: str,
        timeout_s: float,
        back: WayBack | None = None,
    ) -> Object:
        name = objects.resource_id(live)
        try:
            return await life.ready(live, lifecycle.timeout_of(obj, timeout_s))
        except NotReady as error:
            live, reason, next_step = error.live, f"{name}: {error.reason}", "mend it and run the same command again"
        except Stopped:
            reason, next_step = f"{name}: the run was cancelled while it was waited for", "the next one goes on"
        except (ApiError, ResourceFailed) as error:  # this says nothing of the version
            reason, next_step, back = f"{name}: {error}", "", None
        secrets = secrecy.texts(declared)
        if back:
            secrets += back.secrets
            life.say(reason.removeprefix(f"{name}: "))
            try:
                outcome = await back.go()
            except NotBack as error:
                next_step = str(error)
            else:
                # No `Unfinished`: the state keeps the version before, and that is what is there.
                raise ResourceFailed(secrecy.masked(f"{reason}; {outcome}", secrets))
        text = f"{reason}; {next_step}" if next_step else reason
        raise Unfinished(secrecy.masked(text, secrets), name, self._state(obj, live, declared, manager))

    async def _way_back(self, request: sdk.UpdateRequest, obj: Object, manager: str) -> WayBack | None:
        """Where to go when the update fails. One that hands the object to another manager has no way back."""
        if not rollback.asked_for(obj) or objects.is_patch(request.type, obj):
            return None
        if checkpoint.manager_of(request.olds) != manager:
            return None
        former = checkpoint.of_state(request.olds)[0]
        life = self._life(request.urn, obj, manager, request.news, request.olds)
        before = rollback.version_before(obj, former, await life.find(obj))
        if before is None:
            return None
        timeout_s = lifecycle.timeout_of(obj, request.timeout)
        return WayBack(
            life=self._life(request.urn, before, manager, request.news, request.olds),
            former=before,
            timeout_s=timeout_s,
            secrets=secrecy.texts(request.olds),
        )

    async def _tell_unready(
        self, life: Life, inputs: Object, found: Object, name: str, state: Properties, kept: Properties
    ) -> None:
        """A refresh that finds an object unwell records it: the next update waits for it again."""
        if not readiness.waits(inputs):
            return
        place = await life.place(found)
        assert place
        verdict = await life.waiter(place).verdict(found)
        if not isinstance(verdict, readiness.Ready):
            text = secrecy.masked(f"{name}: not ready: {verdict.reason}", secrecy.texts(kept))
            raise Unfinished(text, name, state, kept)

    async def _told(self, obj: Object, declared: Properties, manager: str, act: Any) -> Any:
        """Run an act; its failures name the object and hold no secret."""
        name = objects.resource_id(obj) or str(obj.get("kind"))
        try:
            return await act
        except ApiError as error:
            text = lifecycle.explained(error, manager)
            raise ResourceFailed(secrecy.masked(f"{name}: {text}", secrecy.texts(declared))) from error
        except Unreachable as error:
            raise Unreachable(f"{name}: {error}", passing=error.passing) from error
        except NotReady as error:
            text = secrecy.masked(f"{name}: {error.reason}; run the same command again", secrecy.texts(declared))
            raise ResourceFailed(text) from error
        except Stopped as error:
            raise ResourceFailed(f"{name}: {CANCELLED}") from error
        except ResourceFailed as error:
            raise ResourceFailed(f"{name}: {error}") from error

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
        """In the provider's namespace, where the kind has namespaces and the object names none.

        Asking for the kind also shows a kubeconfig that leads nowhere before anything else is done, and even where
        nothing has changed.
        """
        kind = objects.kind_of(obj) if obj.get("apiVersion") and obj.get("kind") else objects.kind_of_type(request.type)
        kinds = self._connected(objects.resource_id(obj))[1]
        place = await self._told(obj, request.new_inputs, "", kinds.place(kind))
        namespaced = place.namespaced if place else not objects.is_definition(obj)
        if objects.namespace_of(obj) or not namespaced:
            return obj
        assert self._access
        return objects.with_metadata(obj, namespace=self._access.namespace)

    def _life(self, urn: str, obj: Object, manager: str, *declared: Properties) -> Life:
        """`declared` says what is secret: progress tells what controllers and the server say, and they quote."""
        cluster, kinds = self._connected(objects.resource_id(obj))
        name, secrets = objects.resource_id(obj), tuple(text for one in declared for text in secrecy.texts(one))
        return Life(
            cluster=cluster,
            kinds=kinds,
            say=lambda line: self.say(urn, secrecy.masked(f"{name}: {line}", secrets)),
            stop=self._stop,
            manager=manager,
            force=self._settings.patch_force or objects.flagged(obj, objects.PATCH_FORCE),
        )

    def _connected(self, name: str = "") -> tuple[Cluster, Kinds]:
        """The cluster. Raises `BadKubeconfig`, with the name of the first resource that needs it."""
        if self._cluster is None or self._kinds is None:
            try:
                self._access = kubeconfig.access(self._settings.access)
                self._cluster = Cluster(self._access, lambda line: self.say("", line))
            except kubeconfig.BadKubeconfig as error:
                raise kubeconfig.BadKubeconfig(f"{name}: {error}" if name else str(error)) from error
            self._kinds = Kinds(self._cluster)
        return self._cluster, self._kinds

    def _state(self, obj: Object, live: Object, declared: Properties, manager: str) -> Properties:
        return checkpoint.outputs(obj, live, declared, str(obj.get("apiVersion") or ""), manager)


def _manager(urn: str, obj: Object, former: str = "") -> str:
    return objects.annotation(obj, objects.PATCH_FIELD_MANAGER) or former or objects.field_manager(urn)


def _same_place(found: Object, live: Object, new: Object) -> tuple[Object, Object]:
    """Name and namespace as they are, where they were not declared before; no namespace for kinds without one."""
    identity = {"name": objects.name_of(live)} if objects.name_of(new) else {}
    if objects.namespace_of(live):
        return objects.with_metadata(found, **identity, namespace=objects.namespace_of(live)), new
    kept = {key: value for key, value in objects.metadata(new).items() if key != "namespace"}
    return objects.with_metadata(found, **identity), {**new, "metadata": kept}


def _identity(request: Any, known: Object) -> Object:
    """Enough of an object to find it: from the ID and the type, where the state has nothing better."""
    namespace, name = objects.parse_id(request.resource_id)
    kind = objects.kind_of(known) if known.get("kind") else objects.kind_of_type(request.type)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
    }

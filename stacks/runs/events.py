"""Converts the engine's events to changes, drift, progress and errors. Pure: events in, records out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

from playbooks.host_spec import KINDS, SECRETS
from stacks.components.resources import HEALTH_GATE, IMAGE, KUBERNETES, LAST_SITE_GUARD, PACKAGE, PLAYBOOK, site_of
from stacks.runs.reports import Change

OPS = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "create-replacement": "replace",
    "import": "create",
    "discard-replaced": "",
    "delete-replaced": "",
    "replace": "",
    "same": "",
    "refresh": "",
}
"""The operator's word for each step of the engine. Empty if the step is internal, or if another step reports it."""

CONTEXT_LINES = 2
_SECRET = re.compile(rf'{SECRETS}\["([^"]+)"\]')
_LIST_OF_ERRORS = re.compile(r"\d+ errors? occurred:\s*\* |\n\s*\* ")
_TRANSPORT = re.compile(r"^((Preview|Update|Refresh) failed: |rpc error: code = \w+ desc = )+")
_PROVIDER_ENDED = re.compile(r"exited prematurely|error reading from server: EOF")
_PLUGIN_OUTPUT = "STDOUT and STDERR streams of the plugin:"
_NO_CAUSE = ("update failed", "preview failed", "refresh failed")
_PROGRAM_CANCELLED = "Resource monitor has terminated"
"""The SDK's error after the engine has given up for another reason."""
_COUNT = re.compile(r"\d+ errors? occurred:")
_COLOUR = re.compile(r"<\{%[^%]*%\}>")


def change_of(stack: str, step: StepEventMetadata) -> Change | None:
    """Return the change that a step makes, or None for components, reads and unchanged resources."""
    op = OPS.get(str(getattr(step.op, "value", step.op)), "")
    if op and step.type.startswith(KUBERNETES):
        return _object_change(stack, op, step)
    if not op or not step.type.startswith(f"{PACKAGE}:index:"):
        return None
    states = [state for state in (step.new, step.old) if state]
    guarded = any(getattr(state, "protect", False) for state in states)
    name = step.urn.rsplit("::", 1)[-1]
    if step.type == IMAGE:
        return Change(stack=stack, op=op, resource=_image_name(step), details=_image_details(op, step))
    if step.type in (HEALTH_GATE, LAST_SITE_GUARD):
        service, _, kind = name.rpartition("-")
        return Change(stack=stack, op=op, resource=_with_site(step.urn, f"{kind} of {service}"))
    if step.type != PLAYBOOK:
        return Change(stack=stack, op=op, resource=name, guarded=guarded)
    new = step.new.inputs if step.new and op != "delete" else {}
    old = step.old.outputs if step.old and op != "create" else {}
    host = str((new or old or {}).get("host", name))
    if op == "update":
        details, diffs = _differences(old or {}, new or {})
        details += tuple(_secrets(step)) or (() if details else ("recorded again",))
    else:
        details, diffs = _summary(new or old or {}), {}
    return Change(stack=stack, op=op, resource=name, host=host, details=details, diffs=diffs, guarded=guarded)


def drift_of(step: StepEventMetadata) -> tuple[str, tuple[str, ...]] | None:
    """Return host and differences of a refresh that found a difference, or None for all other steps.

    A Kubernetes object that is not ready counts as a difference. It was ready when it was applied, and the next update
    waits for it again.
    """
    if step.type.startswith(KUBERNETES):
        return _object_drift(step)
    if step.type == IMAGE:
        return None if step.new else (_image_name(step), ("it is missing in the registry",))
    if step.type != PLAYBOOK or not step.new:
        return None
    outputs = step.new.outputs or {}
    found = outputs.get("differences") or {}
    return (str(outputs["host"]), tuple(found.values())) if found else None


def _object_change(stack: str, op: str, step: StepEventMetadata) -> Change:
    """Return the change of a Kubernetes object: the paths that differ, with both values if neither is secret."""
    guarded = any(getattr(state, "protect", False) for state in (step.new, step.old) if state)
    details = _paths(step) if op in ("update", "replace") else ()
    return Change(stack=stack, op=op, resource=_object_name(step), details=details, guarded=guarded)


def _object_drift(step: StepEventMetadata) -> tuple[str, tuple[str, ...]] | None:
    if not step.new:
        return _object_name(step), ("it is gone",)
    texts = (*_paths(step), *(step.new.init_errors or ()))
    return (_object_name(step), texts) if texts else None


def _object_name(step: StepEventMetadata) -> str:
    """Return a name like `futian: ConfigMap bureau/settings`: by the ID if there is one, else by the declared name."""
    states = [state for state in (step.new, step.old) if state]
    known = next((state.id for state in states if state.id), "") or next(map(_declared_name, states), "")
    kind = step.type.rsplit(":", 1)[-1]
    return _with_site(step.urn, f"{kind} {known or step.urn.rsplit('::', 1)[-1]}")


def _declared_name(state: Any) -> str:
    metadata = (state.inputs or {}).get("metadata")
    parts = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, Mapping) else []
    return "/".join(str(part) for part in parts if part) if all(parts[1:]) else ""


def _image_name(step: StepEventMetadata) -> str:
    return _with_site(step.urn, f"image {step.urn.rsplit('::', 1)[-1].removeprefix('image-')}")


def _image_details(op: str, step: StepEventMetadata) -> tuple[str, ...]:
    """Return the digests. If they are equal, return the names of the other inputs that differ."""
    old, new = (str((state.inputs or {}).get("digest", "")) if state else "" for state in (step.old, step.new))
    if op != "update":
        return (new,) if new and op == "create" else ()
    if old != new:
        return (f"{old} -> {new}",)
    return tuple(f"{key} differs" for key in sorted({path.split("[")[0] for path in step.detailed_diff or {}}))


def _with_site(urn: str, text: str) -> str:
    site = site_of(urn)
    return f"{site}: {text}" if site else text


def _paths(step: StepEventMetadata) -> tuple[str, ...]:
    old, new = (dict(state.inputs or {}) if state else {} for state in (step.old, step.new))
    unseen = {path: f"{path} differs" for path in step.detailed_diff or {}}
    seen = {path: f"{path}: {before} -> {after}" for path, before, after in _leaves("", old, new)}
    return tuple(text for _, text in sorted({**unseen, **seen}.items()))


def _leaves(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield paths whose values differ.

    The engine replaces all secret values with one same word, so no secret is shown.
    """
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            step = f'["{key}"]' if "." in key else f".{key}" if path else key
            yield from _leaves(path + step, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _leaves(f"{path}[{index}]", one, other)
    else:
        yield path, old, new


def errors_of(event: DiagnosticEvent) -> tuple[str, ...]:
    """Return the errors in an event, in the operator's words. Messages that name no cause are left out."""
    if event.severity != "error":
        return ()
    text = clean(event.message)
    if _PROVIDER_ENDED.search(text):
        output = text.partition(_PLUGIN_OUTPUT)[2].strip().splitlines()
        return (": ".join(["the provider process ended before it had answered", *output[-1:]]),)
    parts = _LIST_OF_ERRORS.split(text)
    errors = (_TRANSPORT.sub("", part.strip()) for part in parts)
    causes = (
        error for error in errors if error and not error.startswith(_NO_CAUSE) and _PROGRAM_CANCELLED not in error
    )
    return tuple(_with_object(event, error) for error in causes)


def progress_of(event: EngineEvent) -> str | None:
    """Return a progress line for the operator, or None if the event has none."""
    diagnostic = event.diagnostic_event
    if diagnostic and diagnostic.severity == "info" and diagnostic.ephemeral:
        return _with_object(diagnostic, clean(diagnostic.message))
    return None


def _with_object(event: DiagnosticEvent, text: str) -> str:
    """Put site and kind before a message about a Kubernetes object.

    The message itself starts with the object's name.
    """
    urn = event.urn or ""
    kind = urn.split("::")[2].rsplit("$", 1)[-1] if site_of(urn) else ""
    return _with_site(urn, f"{kind.rsplit(':', 1)[-1]} {text}") if kind.startswith(KUBERNETES) else text


def clean(text: str) -> str:
    """Remove the engine's colour marks."""
    return _COLOUR.sub("", text or "").strip()


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    details, diffs = [], {}
    was, wanted = old.get("files") or {}, new.get("files") or {}
    for path in sorted(was.keys() | wanted.keys()):
        before, after = was.get(path) or {}, wanted.get(path) or {}
        if before.get("text") != after.get("text"):
            details.append(f"file {path}: " + ("no longer managed" if not after else "text" if before else "new"))
            diffs[path] = unified(path, before.get("text") or "", after.get("text") or "")
        moved = [key for key in ("owner", "group", "mode") if _differs(key, before, after)]
        details += [f"file {path}: {key} {before[key]} -> {after[key]}" for key in moved]
    for kind, one in (("units", "unit"), ("sysctls", "sysctl"), ("accounts", "account")):
        details += _entry_changes(one, old.get(kind) or {}, new.get(kind) or {})
    details += [f"settings of role {role}" for role in _roles_that_differ(old, new)]
    found = old.get("differences") or {}
    details += [text.splitlines()[0] for what, text in found.items() if _beyond_inputs(what)]
    return tuple(details), diffs


def _beyond_inputs(what: str) -> bool:
    """Whether no input shows this difference.

    That is so for a setting of running software, a part of an installation, and a unit that has not yet been notified
    of a new file.
    """
    return what.startswith(("install ", "setting ")) or what.endswith(": notified")


def unified(path: str, before: str, after: str) -> str:
    """Return a unified diff from the text on the host to the declared text."""
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        f"{path} (on the host)",
        f"{path} (declared)",
        lineterm="",
        n=CONTEXT_LINES,
    )
    return "\n".join(lines)


def _secrets(step: StepEventMetadata) -> Iterator[str]:
    """Yield the secrets that differ, by name. The engine reports only their place, such as `secrets["file /etc/x"]`."""
    for path in step.detailed_diff or {}:
        if found := _SECRET.match(path):
            yield f"{found.group(1)}: secret content differs"


def _differs(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return key in before and key in after and before[key] != after[key]


def _entry_changes(word: str, was: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted(was.keys() | wanted.keys()):
        before, after = was.get(name), wanted.get(name)
        if before == after:
            continue
        if before is None or after is None:
            lines.append(f"{word} {name}: " + ("new" if before is None else "no longer managed"))
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            lines += [f"{word} {name}: {key} {before.get(key)} -> {after.get(key)}" for key in keys]
        else:
            lines.append(f"{word} {name}: {before} -> {after}")
    return lines


def _roles_that_differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    was, wanted = ({role["role"]: role.get("settings") for role in tree.get("roles") or ()} for tree in (old, new))
    return [name for name in sorted(was.keys() | wanted.keys()) if was.get(name) != wanted.get(name)]


def _summary(values: Mapping[str, Any]) -> tuple[str, ...]:
    roles = ", ".join(role["role"] for role in values.get("roles") or () if isinstance(role, Mapping))
    known = [kind for kind in KINDS if isinstance(values.get(kind), Mapping) and values[kind]]
    counts = ", ".join(f"{len(values[kind])} {kind}" for kind in known)
    return tuple(part for part in (f"roles: {roles}" if roles else "", counts) if part)


def startup_error(text: str) -> str:
    """Return the error of an engine that failed before its first event, or "" if its events have reported the error."""
    _, _, output = text.rpartition("stderr:")
    lines = [line.strip() for line in output.splitlines()]
    first = next((number for number, line in enumerate(lines) if line.startswith("error:")), len(lines))
    words = [line.removeprefix("error:").removeprefix("*").strip() for line in lines[first:]]
    return "\n".join(word for word in words if word and not _COUNT.fullmatch(word))

"""The contract of a service as frozen, typed values. `docs/services.md` describes it for authors of services."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1024, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$")]
Login = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A name that PostgreSQL needs no quotes for."""
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_.-]*$")]
RelativePath = Annotated[str, Field(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+)*\.py$")]
Count = Annotated[int, Field(ge=1, le=10000)]
Text = Annotated[str, Field(min_length=1)]

SETTINGS = (
    "site", "port", "lab", "primary", "local", "primary_connections", "local_connections", "url", "carrier",
    "deliver_synthetic",
)  # fmt: skip
"""Placeholders in `environment`; `docs/services.md` explains them."""
REGISTERS = ("people", "seed")
"""Placeholders in the commands of `setup`: size and seed of the estate's registers."""


def placeholders(template: str) -> set[str]:
    """Return the texts between braces, with a format that no placeholder has. Raises ValueError if the braces do not
    match."""
    found = [field for field in Formatter().parse(template) if field[1] is not None]
    return {f"{name}{'!' * bool(sign)}{sign or ''}{':' * bool(form)}{form}" for _, name, form, sign in found}


def _known(known: tuple[str, ...], templates: Iterable[str]) -> None:
    for template in templates:
        if unknown := sorted(placeholders(template) - set(known)):
            raise ValueError(f"{template!r} has the unknown placeholder {unknown[0]!r}; known: {', '.join(known)}")


def _environment(value: dict[str, str]) -> dict[str, str]:
    _known(SETTINGS, value.values())
    return value


def _command(value: tuple[str, ...]) -> tuple[str, ...]:
    _known(REGISTERS, value)
    return value


class Value(BaseModel):
    """Base of all values: frozen, and no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Health(Value):
    """Paths that answer 200 while the instance is healthy."""

    live: UrlPath
    """The process works. It must not depend on the database: the cluster restarts a pod that fails here."""
    ready: UrlPath | None = None
    """The site can answer requests. A site is announced only while it is ready."""
    write: UrlPath | None = None
    """The site can store data."""
    backend: Name | None = None
    """Name of the ingress' backend for these paths; None means `<service>-probes`."""

    @property
    def paths(self) -> tuple[str, ...]:
        """All declared paths."""
        return tuple(path for path in (self.live, self.ready, self.write) if path)

    @property
    def gate(self) -> tuple[str, ...]:
        """Paths that must answer before the next site is changed: those that show more than a running process."""
        return self.paths[1:] or self.paths


class Route(Value):
    """Requests that the ingress limits separately from the others, so that neither kind delays the other."""

    backend: Name
    """Name of the ingress' backend."""
    methods: tuple[Literal["POST", "PUT", "PATCH", "DELETE"], ...] = Field(min_length=1)
    at_once: Count


class Down(Value):
    """Answer to a citizen if no pod answers, in both languages. It must say what the citizen can do."""

    zh: Text
    en: Text


class Public(Value):
    """The entry for citizens, at the service's anycast address."""

    at_once: Count
    """Requests that a site processes at once. More requests wait for at most a second and then get 503."""
    routes: tuple[Route, ...] = ()
    repeatable: bool
    """Whether the ingress may send a request to another pod if a pod ends before it has answered. Requires that a
    repeated request has no second effect."""
    down: Down


class Connections(Value):
    """Database connections of all pods of a site together. Each pod has its share, and at least `least`."""

    primary: Count
    local: Count
    least: Count


class Database(Value):
    """The database that the pods use. A service has its own, or a login to another service's database."""

    name: Login
    login: Login
    """Login of the pods. They receive its password as `PGPASSWORD`."""
    owner: Login | None = None
    """Login that owns the database and changes its schema; None if the database belongs to another service."""
    roles: tuple[Login, ...] = ()
    """Roles without login. The owner is a member of each."""
    connections: Connections


class Command(Value):
    """A module of the service's package with its arguments, run as `python -m`. A second run must change nothing."""

    run: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_command)]
    lab_only: bool = False
    """Whether the command is for synthetic data, which only a lab has."""


class Setup(Value):
    """Preparation of the own database. One host of an active site runs the commands as the owner, in order."""

    dsn_variable: Variable
    """Variable with the owner's connection string."""
    commands: tuple[Command, ...] = Field(min_length=1)


class Synthetic(Value):
    """The synthetic client: how drills and benches use the service as a citizen, and prove that nothing was lost."""

    client: RelativePath
    """Module in the service's folder that builds the requests."""
    imports: tuple[RelativePath, ...] = ()
    """Modules below `src` that the client imports. They may import only the standard library."""
    rows: Text
    """Query for the stored synthetic requests: `key`, `digest` and `decision`, in the order of their storage."""
    duration: Text
    """Histogram of the service's metrics with the seconds that one decision takes."""


class Contract(Value):
    """Everything that the platform needs to know of a service's software."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,30}$")]
    """Name of the folder, of the Python package, of the image and of the estate's entry."""
    port: Port
    """Port on which the pods listen, in both families. Requests, health paths and metrics share it."""
    monitoring_port: Port
    """Port of a site's ingress at which the monitoring hosts read health paths and metrics of the site's pods."""
    health: Health
    metrics: UrlPath = "/metrics"
    public: Public | None = None
    """None for a service that citizens do not reach."""
    database: Database | None = None
    setup: Setup | None = None
    environment: Annotated[dict[Variable, str], AfterValidator(_environment)] = {}
    """Settings of the pods, with placeholders. `GOVCLOUD_SITE` is always set."""
    fields: dict[Variable, Literal["metadata.name", "status.podIP"]] = {}
    """Settings that a pod learns about itself."""
    secrets: dict[Variable, Login] = {}
    """Generated secrets of the pods, by variable. The name of the secret has the service's name before it."""
    synthetic: Synthetic | None = None

    @property
    def probes_backend(self) -> str:
        """Name of the ingress' backend for health paths and metrics."""
        return self.health.backend or f"{self.name}-probes"

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of all backends of the ingress that belong to the service."""
        public = (self.name, *(route.backend for route in self.public.routes)) if self.public else ()
        return (*public, self.probes_backend)

    @property
    def passwords(self) -> tuple[str, ...]:
        """Names of the generated passwords: the logins of the database, then the secrets."""
        database = self.database
        logins = (login for login in (database.owner, database.login) if login) if database else ()
        return (*logins, *(self.secret_name(variable) for variable in self.secrets))

    def uses(self, placeholder: str) -> bool:
        """Return whether a setting of the pods has this placeholder."""
        return any(placeholder in placeholders(template) for template in self.environment.values())

    def secret_name(self, variable: str) -> str:
        """Return the name of the password that the pods receive in this variable. It is unique in the estate."""
        return f"{self.name}_{self.secrets[variable]}"

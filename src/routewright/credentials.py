"""Credentials that expire: where each comes from, and what is known of it now. No I/O here.

`upstream/credentials.py` fetches them and renews them before they end; a dialect asks `current()` for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from routewright.errors import GatewayError
from routewright.types import Secret

ENTRA_AUTHORITY = "https://login.microsoftonline.com"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraSource:
    """An application registered with Microsoft Entra; its token opens Azure. It has a secret, or a proof."""

    tenant_id: str
    client_id: str
    client_secret: Secret | None = None
    proof: Secret | None = None
    """A token of an issuer that the application trusts, or the path of a file that holds one."""
    scope: str = ENTRA_SCOPE
    authority: str = ENTRA_AUTHORITY

    def __str__(self) -> str:
        return f"Microsoft Entra, client {self.client_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedSource:
    """The identity that Azure itself gives an app, or a machine."""

    endpoint: str
    """Asked over plain HTTP inside the machine, without a query."""
    header: Secret | None = None
    """What an app proves itself with; None: a machine, which is known by where it asks from."""
    client_id: str | None = None
    """Of the identity, where there are several."""
    resource: str = ENTRA_SCOPE.removesuffix("/.default")

    def __str__(self) -> str:
        return f"Azure, the managed identity {self.client_id or 'of this machine'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleSource:
    """An account of Google Cloud's; its token opens Vertex AI."""

    info: Secret | None = None
    """The JSON of a credentials file; None: what the machine has (gcloud's login, the metadata server)."""
    name: str = "the machine's own account"
    """Whose it is, as logs may say it."""

    def __str__(self) -> str:
        return f"Google Cloud, {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSource:
    """An identity of AWS's that is not a fixed pair of keys: a profile, a role, or what the machine has."""

    region: str
    profile: str | None = None
    role: str | None = None
    """To be taken on, with the identity that the other fields give."""
    session_name: str = "routewright"
    external_id: str | None = None
    web_identity_token: Secret | None = None
    """A token, or the path of a file that holds one; proves who asks for the role."""
    sts_endpoint: str | None = None
    key_id: str | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None

    def __str__(self) -> str:
        named = self.role or (f"profile {self.profile}" if self.profile else "the machine's own identity")
        return f"AWS, {named}"


CredentialSource = EntraSource | ManagedSource | GoogleSource | AwsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """What requests to AWS are signed with."""

    key_id: str
    secret_key: Secret
    session_token: Secret | None = None
    region: str


class CredentialMissing(Exception):
    """There is none now; the one who sends waits until it is known, or known not to be had."""

    def __init__(self, credential: Credential) -> None:
        super().__init__(str(credential.source))
        self.credential = credential


class Credential:
    """One source and what came of it. Only its keeper writes here; all its users are on one loop."""

    __slots__ = ("aws", "failure", "is_doubted", "source", "token", "waiting")

    def __init__(self, source: CredentialSource) -> None:
        self.source = source
        self.token: Secret | None = None
        """A bearer token, while it is good."""
        self.aws: AwsCredentials | None = None
        """The same for AWS, whose requests are signed."""
        self.failure: GatewayError | None = None
        """Why there is none; None before the first try has ended."""
        self.is_doubted = False
        """The upstream refused it although its time is not over."""
        self.waiting: list[Callable[[None], None]] = []
        """Called once it is known, or known not to be had."""

    def bearer(self) -> bytes:
        """Raises CredentialMissing."""
        if self.token is None:
            raise CredentialMissing(self)
        return self.token.reveal().encode("ascii")

    def keys(self) -> AwsCredentials:
        """Raises CredentialMissing."""
        if self.aws is None:
            raise CredentialMissing(self)
        return self.aws

    def texts(self) -> list[str]:
        """What must not be shown."""
        found = [self.token, *((self.aws.secret_key, self.aws.session_token) if self.aws is not None else ())]
        return [secret.reveal() for secret in found if secret is not None]


class Hidden(Sequence[str]):
    """A deployment's secrets where one of them changes."""

    def __init__(self, fixed: Sequence[str], credential: Credential) -> None:
        self._fixed, self.credential = tuple(fixed), credential

    def _all(self) -> list[str]:
        return [*self._fixed, *self.credential.texts()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        return self._all()[place]

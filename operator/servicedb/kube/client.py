"""The API server, in raw JSON: the generated models cost half of the rate and twice the memory."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from servicedb.errors import Busy, Retryable, Terminal

Json = dict[str, Any]

_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
_PAGE = 500


class ApiError(Exception):
    """The API server said no. `status` is HTTP's, `reason` metav1.Status's (NotFound, Conflict, Forbidden...)."""

    def __init__(self, status: int, reason: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details


class KubeClient:
    """A session with the API server. Paths are as in the API reference, such as `/api/v1/namespaces/shop`."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._context = RESTClientObject(configuration).ssl_context
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    async def load(cls, kubeconfig: str | None) -> Self:
        """Log in with `kubeconfig`, or as the pod's ServiceAccount where it is None.

        Raises kubernetes.aio.config.ConfigException when there is neither.
        """
        configuration = Configuration()
        if kubeconfig is None:
            kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, client_configuration=configuration
            )
        return cls(configuration)

    async def token(self) -> str | None:
        """The value of the Authorization header: a ServiceAccount's token is renewed on disk every hour."""
        value = await self.configuration.get_api_key_with_prefix("BearerToken")
        return str(value) if value else None

    async def get(self, path: str, **query: str) -> Json | None:
        """The object at `path`, or None where a Status 404 says that there is none."""
        try:
            return await self.request("GET", path, query=query)
        except ApiError as error:
            if error.status == 404 and error.reason == "NotFound" and not _missing_kind(error):
                return None
            raise

    async def list(self, path: str, **query: str) -> AsyncIterator[Json]:
        """Every object of a collection, fetched in pages."""
        parameters = {"limit": str(_PAGE), **query}
        while True:
            page = await self.request("GET", path, query=parameters)
            for item in page["items"]:
                yield item
            following = page["metadata"].get("continue")
            if not following:
                return
            parameters["continue"] = following

    async def create(self, path: str, body: Json) -> Json:
        return await self.request("POST", path, body=body)

    async def merge_patch(self, path: str, body: Json) -> Json:
        """Source: RFC 7386. With metadata.resourceVersion in `body`, 409 when the object has changed since."""
        return await self.request("PATCH", path, body=body, content_type="application/merge-patch+json")

    async def delete(self, path: str, *, uid: str, version: str | None = None) -> None:
        """Delete the object if it is still the one with `uid`, and has not changed since `version` where that is given;
        then what belongs to it. One that is gone already is as good."""
        conditions = {"uid": uid, **({"resourceVersion": version} if version is not None else {})}
        options = {"kind": "DeleteOptions", "preconditions": conditions, "propagationPolicy": "Background"}
        try:
            await self.request("DELETE", path, body=options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One request. Raises ApiError for an answer that says no, Retryable when there is no answer."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if token := await self.token():
            headers["Authorization"] = token
        try:
            async with self._open_session().request(
                method,
                self.configuration.host + path,
                params=query,
                data=json.dumps(body) if body is not None else None,
                headers=headers,
            ) as response:
                answer = await _json(response)
                if response.status >= 400:
                    raise _error(response.status, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Busy("ApiServerUnreachable", f"the Kubernetes API server does not answer: {error}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context, limit=32)
            self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        return self._session


async def _json(response: aiohttp.ClientResponse) -> Json:
    text = await response.text()
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": text[:200].strip()}


def _error(status: int, answer: Json) -> ApiError | Retryable:
    reason, message = str(answer.get("reason", "")), str(answer.get("message", ""))
    if status >= 500 or status == 429:
        return Busy("ApiServerBusy", f"the Kubernetes API server answered {status}: {message}")
    return ApiError(status, reason, message, answer.get("details") or {})


def _missing_kind(error: ApiError) -> bool:
    """Whether 404 speaks of the kind (its CRD is gone) and not of one object."""
    return "name" not in error.details


def refusal(error: ApiError, *, namespace: str) -> Retryable | Terminal:
    """What a refused request for a child object in `namespace` means to the user."""
    if error.status == 403 and "because it is being terminated" in error.message:
        return Terminal("NamespaceTerminating", f'namespace "{namespace}" is being deleted; nothing is made in it')
    if error.status == 403:
        return Terminal(
            "NamespaceNotGranted",
            f'the operator may not do what it has to in namespace "{namespace}"; bind its ClusterRole there with a '
            f"RoleBinding (manifests/ binds cluster-wide), or look at what refused it: {error.message}",
        )
    if error.status in (404, 409):
        return Busy("Conflict", f'an object in namespace "{namespace}" changed meanwhile; tried again')
    return Terminal("RefusedByApiServer", f"the Kubernetes API server refuses: {error.message}")

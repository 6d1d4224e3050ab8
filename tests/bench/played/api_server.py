"""The HTTP side of a played API server: lists, watches, reads, patches and discovery."""

import asyncio
import copy
from typing import Any, Final

import orjson
from aiohttp import web

from tests.bench.played.objects import Body, Collection, Objects

GROUPS: Final = {"taskqueue.dev": "v1alpha1", "apps": "v1", "coordination.k8s.io": "v1"}
VERBS: Final = ["create", "delete", "get", "list", "patch", "update", "watch"]


class PlayedApiServer:
    """Serves objects over HTTP without authentication."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._collections = objects.collections()

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/api", self._versions)
        app.router.add_get("/apis", self._groups)
        app.router.add_get("/api/v1", self._resources)
        app.router.add_get("/apis/{group}/{version}", self._resources)
        for api in ("/api/v1", "/apis/{group}/{version}"):
            for scope in ("", "/namespaces/{namespace}"):
                app.router.add_get(f"{api}{scope}/{{plural}}", self._list)
                app.router.add_post(f"{api}{scope}/{{plural}}", self._create)
            path = f"{api}/namespaces/{{namespace}}/{{plural}}/{{name}}"
            app.router.add_get(path, self._read)
            app.router.add_patch(path, self._patch)
            app.router.add_patch(path + "/status", self._patch)
        return app

    async def _versions(self, _: web.Request) -> web.Response:
        return _json({"kind": "APIVersions", "versions": ["v1"]})

    async def _groups(self, _: web.Request) -> web.Response:
        groups = [
            {"name": name, "preferredVersion": _version(name, version), "versions": [_version(name, version)]}
            for name, version in GROUPS.items()
        ]
        return _json({"kind": "APIGroupList", "groups": groups})

    async def _resources(self, request: web.Request) -> web.Response:
        group = request.match_info.get("group", "")
        api = f"{group}/{request.match_info['version']}" if group else "v1"
        resources = [
            {
                "name": collection.plural,
                "singularName": collection.kind.lower(),
                "kind": collection.kind,
                "namespaced": True,
                "verbs": VERBS,
            }
            for collection in self._collections.values()
            if collection.api_version == api
        ]
        return _json({"kind": "APIResourceList", "groupVersion": api, "resources": resources})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        collection = self._collections[request.match_info["plural"]]
        if request.query.get("watch") in {"true", "1"}:
            return await self._watch(request, collection)
        begin, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 0)
        items = list(collection.items.values())
        end = begin + limit if limit else len(items)
        metadata = {"resourceVersion": self.objects.version} | ({"continue": str(end)} if end < len(items) else {})
        page = {"kind": f"{collection.kind}List", "apiVersion": collection.api_version, "metadata": metadata}
        return _json({**page, "items": items[begin:end]})

    async def _watch(self, request: web.Request, collection: Collection) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        bookmark = {"apiVersion": collection.api_version, "kind": collection.kind}
        with collection.watch(int(request.query["resourceVersion"])) as events:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), 30)
                except TimeoutError:
                    version = {"metadata": {"resourceVersion": self.objects.version}}
                    event = {"type": "BOOKMARK", "object": bookmark | version}
                try:
                    await response.write(orjson.dumps(event) + b"\n")
                except ConnectionResetError:
                    return response

    async def _read(self, request: web.Request) -> web.Response:
        found = self._find(request)
        return _json(found) if found is not None else _not_found()

    async def _create(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        body["metadata"].setdefault("namespace", request.match_info.get("namespace", ""))
        return _json(self._collections[request.match_info["plural"]].put(body), status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        collection, found = self._collections[request.match_info["plural"]], self._find(request)
        patch = orjson.loads(await request.read())
        if found is None and "apply" not in request.content_type:
            return _not_found()
        body = _patched(found, patch)
        if body is None:
            return _json({"kind": "Status", "message": "the server rejected our request: test failed"}, status=422)
        if collection is self.objects.deployments:
            _control(body, found)
        return _json(collection.put(body))

    def _find(self, request: web.Request) -> Body | None:
        match = request.match_info
        return self._collections[match["plural"]].items.get((match["namespace"], match["name"]))


def _control(body: Body, before: Body | None) -> None:
    """Do what the Deployment controller does, but create and remove no pods."""
    metadata, replicas = body["metadata"], body["spec"].get("replicas", 1)
    changed = before is None or (before["spec"], before["metadata"].get("annotations")) != (
        body["spec"],
        metadata.get("annotations"),
    )
    metadata["generation"] = metadata.get("generation", 0) + changed
    former = (body.get("status") or {}).get("replicas", 0)
    current = max(former, replicas)
    status = {"replicas": current, "updatedReplicas": current, "readyReplicas": current}
    body["status"] = status | {"observedGeneration": metadata["generation"]}


def _patched(before: Body | None, patch: Any) -> Body | None:  # noqa: ANN401  any kind of patch
    """Return a patched copy; None if a test of a JSON patch fails."""
    body = copy.deepcopy(before) if before is not None else {}
    if isinstance(patch, dict):
        _merge(body, patch)
        return body
    for step in patch:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        target = body
        for part in parents:
            target = target.setdefault(part, {})
        if step["op"] == "test" and target.get(last) != step["value"]:
            return None
        if step["op"] == "remove":
            target.pop(last, None)
        elif step["op"] != "test":
            target[last] = step["value"]
    return body


def _merge(body: Body, patch: Body) -> None:
    for name, value in patch.items():
        if isinstance(value, dict) and isinstance(body.get(name), dict):
            _merge(body[name], value)
        elif value is None:
            body.pop(name, None)
        else:
            body[name] = value


def _version(group: str, version: str) -> Body:
    return {"groupVersion": f"{group}/{version}", "version": version}


def _json(body: Body, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _not_found() -> web.Response:
    return _json({"kind": "Status", "reason": "NotFound", "message": "not found"}, status=404)

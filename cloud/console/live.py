"""The live stream: what changed on the overview, once a second, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from cloud.console.shapes import MachineRow, Overview, PlantLine, Shape
from cloud.console.view import PlantView

TICK_S = 1.0
HEARTBEAT_S = 5.0
RECONNECT_MS = 1_000


class Change(Shape):
    """What is new since the last event. `order` is there when machines came, went or changed places."""

    at_ms: int
    plant: PlantLine
    machines: list[MachineRow]
    order: list[str] | None
    trouble: str


def find_change(before: Overview | None, now: Overview) -> Change | None:
    """Return what a page that shows `before` must change to show `now`; None when nothing."""
    known = {row.path: row for row in before.machines} if before else {}
    changed = [row for row in now.machines if known.get(row.path) != row]
    order = [row.path for row in now.machines]
    moved = before is None or order != [row.path for row in before.machines]
    calm = before is not None and before.plant == now.plant and before.trouble == now.trouble
    if calm and not changed and not moved:
        return None
    return Change(
        at_ms=now.at_ms,
        plant=now.plant,
        machines=changed,
        order=order if moved else None,
        trouble=now.trouble,
    )


async def stream_changes(view: PlantView, request: Request) -> AsyncIterator[str]:
    """Yield events until the browser leaves or the console closes; a heartbeat when nothing changes."""
    yield f"retry: {RECONNECT_MS}\n\n"
    shown: Overview | None = None
    quiet_s = 0.0
    while not (request.app.state.closing or await request.is_disconnected()):
        now = await run_in_threadpool(view.overview)
        change = find_change(shown, now)
        shown = now
        quiet_s = 0.0 if change else quiet_s + TICK_S
        if change is not None:
            yield f"event: plant\ndata: {change.model_dump_json()}\n\n"
        elif quiet_s >= HEARTBEAT_S:
            quiet_s = 0.0
            yield f"event: heartbeat\ndata: {now.at_ms}\n\n"
        await asyncio.sleep(TICK_S)


def make_live_router(view: PlantView) -> APIRouter:
    """Return the route of the stream."""
    router = APIRouter()

    @router.get("/api/v1/live", response_class=StreamingResponse, tags=["live"])
    async def live(request: Request) -> StreamingResponse:
        """Server-sent events: `plant` (what changed on the overview, at most once a second), `heartbeat`."""
        return StreamingResponse(
            stream_changes(view, request),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router

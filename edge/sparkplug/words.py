"""What a settings file would have the gateway say to Sparkplug's hosts, for a person and for a program."""

from typing import Any

from edge.settings import EdgeSettings
from edge.sparkplug.names import NodeNames, choose_group
from edge.sparkplug.news import PROMISES

DEVICES_SHOWN_MAX = 3


def name_node(settings: EdgeSettings) -> NodeNames:
    """Return the ids under which Sparkplug's hosts know the gateway."""
    group = choose_group(settings.sparkplug.group, (machine.path for machine in settings.machines))
    return NodeNames(group, settings.sparkplug.edge_node or settings.gateway)


def describe_sparkplug(settings: EdgeSettings) -> list[str]:
    """Return lines on ids, host and custody; none where Sparkplug is not spoken."""
    if settings.publish != "sparkplug":
        return []
    chosen, names = settings.sparkplug, name_node(settings)
    broker = chosen.broker or settings.broker
    devices = [names.device_id(machine.path) for machine in settings.machines]
    more = f" and {len(devices) - DEVICES_SHOWN_MAX} more" if len(devices) > DEVICES_SHOWN_MAX else ""
    host = f"waits for the host {chosen.primary_host}" if chosen.primary_host else "waits for no host"
    return [
        f"Sparkplug B: group {names.group}, edge node {names.edge_node}, "
        f"devices {', '.join(devices[:DEVICES_SHOWN_MAX])}{more}",
        f"  over {broker.address}; {host}",
        f"  custody {chosen.custody}: {PROMISES[chosen.custody]}",
    ]


def render_node(settings: EdgeSettings) -> dict[str, Any] | None:
    """Return the same for a program; None where Sparkplug is not spoken."""
    if settings.publish != "sparkplug":
        return None
    chosen, names = settings.sparkplug, name_node(settings)
    return {
        "group": names.group,
        "edge_node": names.edge_node,
        "devices": {str(machine.path): names.device_id(machine.path) for machine in settings.machines},
        "broker": (chosen.broker or settings.broker).address,
        "primary_host": chosen.primary_host,
        "custody": chosen.custody,
        "promise": PROMISES[chosen.custody],
    }

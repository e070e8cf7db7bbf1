"""Translates between the domain and the messages of the wire."""

from collections.abc import Mapping

from google.protobuf import struct_pb2
from paradrop.chutes.v1 import changes_pb2, chutes_pb2, plans_pb2

from services.chutes.domain import configuration
from services.chutes.domain.change import Change
from services.chutes.domain.chute import Actor, Chute
from services.chutes.domain.containers import DATA_DIR, SYSTEM_DIR
from services.chutes.domain.deviation import Containers, Deviation
from services.chutes.domain.folderport import Folders
from services.chutes.domain.planner import Plan
from services.chutes.domain.state import ServiceState, chute_state, service_states
from services.common.documents import to_struct
from services.common.timestamps import to_timestamp

NULL = struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)


def to_chute(
    chute: Chute, containers: Containers, shares: Mapping[str, int], deviation: Deviation | None = None
) -> chutes_pb2.Chute:
    """Returns a chute with the present state of its containers; `shares` are those of all containers."""
    services = service_states(chute, containers)
    specs = chute.spec.services
    own = {service: shares.get(container, 0) for service, container in chute.containers.items()}
    message = chutes_pb2.Chute(
        name=chute.name,
        owner=to_principal(chute.owner),
        state=chute_state(chute, services),
        desired_state=chute.desired,
        services={
            service.service: _service(
                service, own[service.service], specs[service.service].prioritize_traffic
            )
            for service in services
        },
        version=to_value(chute.version),
        environment=chute.environment,
        resources=NULL,
        description=chute.spec.description,
        allocation=_allocation(sum(own.values()), any(one.prioritize_traffic for one in specs.values())),
        create_time=to_timestamp(chute.create_time_s),
    )
    if deviation is not None:
        message.deviation.CopyFrom(_deviation(deviation))
    return message


def _deviation(deviation: Deviation) -> chutes_pb2.Chute.Deviation:
    message = chutes_pb2.Chute.Deviation(
        reason=deviation.reason, message=deviation.message, attempts=deviation.attempts
    )
    if deviation.next_attempt_time_s is not None:
        message.next_attempt_time.CopyFrom(to_timestamp(deviation.next_attempt_time_s))
    return message


def to_config(chute: Chute) -> struct_pb2.Struct:
    """Returns the full specification of a chute."""
    return to_struct(configuration.document(chute))


def to_cache(chute: Chute, folders: Folders) -> struct_pb2.Struct:
    """Returns what the node has worked out for a chute."""
    return to_struct(
        {
            "networkInterfaces": [dict(interface) for interface in chute.network_interfaces],
            "externalDataDir": str(folders.data(chute.name)),
            "internalDataDir": DATA_DIR,
            "externalSystemDir": str(folders.system(chute.name)),
            "internalSystemDir": SYSTEM_DIR,
        }
    )


def to_change(change: Change) -> changes_pb2.Change:
    """Returns a change."""
    request, failure = change.request, change.failure
    message = changes_pb2.Change(
        id=change.id,
        update_class=request.update_class,
        update_type=request.type,
        user=to_principal(request.user),
        name=request.chute,
        version=to_value(request.version),
        status=change.status,
        step=change.step,
        percent=change.percent,
        create_time=to_timestamp(change.create_time_s),
        cancelled_by=change.cancelled_by,
    )
    if change.waiting is not None:
        message.waiting.CopyFrom(
            changes_pb2.Change.Waiting(reason=change.waiting.reason, message=change.waiting.message)
        )
    # A failure that is still being undone is no outcome yet.
    if failure is not None and change.ended:
        message.failure.CopyFrom(
            changes_pb2.Change.Failure(reason=failure.reason, message=failure.message, undone=failure.undone)
        )
    if change.start_time_s is not None:
        message.start_time.CopyFrom(to_timestamp(change.start_time_s))
    if change.end_time_s is not None:
        message.end_time.CopyFrom(to_timestamp(change.end_time_s))
    return message


def to_plan(plan: Plan) -> plans_pb2.Plan:
    """Returns what a change would do."""
    steps = [*((step, False) for step in plan.steps), *((step, True) for step in plan.finish)]
    return plans_pb2.Plan(
        steps=[
            plans_pb2.PlannedStep(name=step.name, description=step.description, after_commit=after_commit)
            for step, after_commit in steps
        ]
    )


def to_principal(actor: Actor) -> chutes_pb2.Principal:
    """Returns who did something or owns something."""
    return chutes_pb2.Principal(name=actor.name, domain=actor.domain, role=actor.role)


def to_value(value: str | int | float | None) -> struct_pb2.Value:
    """Returns a JSON text, number or null."""
    if value is None:
        return NULL
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    return struct_pb2.Value(number_value=value)


def _service(service: ServiceState, shares: int, first: bool) -> chutes_pb2.Chute.Service:
    return chutes_pb2.Chute.Service(
        allocation=_allocation(shares, first),
        state=service.state,
        ports=[
            chutes_pb2.Chute.Port(container_port=container_port, host_port=host_port)
            for container_port, host_port in service.ports
        ],
        exit_code=service.exit_code,
        health=service.health,
    )


def _allocation(shares: int, first: bool) -> chutes_pb2.Chute.Allocation:
    return chutes_pb2.Chute.Allocation(cpu_shares=shares, prioritize_traffic=first)

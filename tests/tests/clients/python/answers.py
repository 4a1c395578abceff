"""Answers as they come over the wire, against the shapes of botocore's model: its parsers overlook much."""

import json

from check import true

SCALARS = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    # Seconds since 1970, as a number.
    "timestamp": (int, float),
}
# What AWS itself leaves out though its model does not let it: the TTL of a zone that was given none, and the
# records of a service that has none.
LEFT_OUT = {("SOA", "TTL"), ("DnsConfig", "DnsRecords")}


def check(operation_model, response_dict, **_):
    """For the event `before-parse` of a client."""
    if operation_model.service_model.metadata["protocol"] == "query":
        return
    what = f"the answer of {operation_model.name}"
    body = json.loads(response_dict["body"] or "{}")
    if response_dict["status_code"] != 200:
        failure(operation_model, response_dict, body, what)
        return
    shape = operation_model.output_shape
    if shape is None:
        true(body == {}, f"{what} has no members in the model: {body}")
        return
    payload = shape.serialization.get("payload")
    value(shape.members[payload] if payload else shape, body, what)


def failure(operation_model, response_dict, body, what):
    """An error is one of the operation's, with its status and its members."""
    headers = response_dict["headers"]
    name = headers["x-amzn-errortype"]
    shapes = {shape.name: shape for shape in operation_model.error_shapes}
    true(name in shapes, f"{what} is {name}, and the model knows {sorted(shapes)} alone: {body}")
    # Over JSON 1.1 AWS answers 400 whatever the model says.
    is_rest = operation_model.service_model.metadata["protocol"] == "rest-json"
    status = shapes[name].metadata["error"]["httpStatusCode"] if is_rest else 400
    true(response_dict["status_code"] == status, f"{what} is {name} with status {response_dict['status_code']}")
    # Which of the ways to tell the type a client reads depends on its protocol and age.
    kind = body.pop("__type", name)
    true(kind == name, f"{what} is {name} in its head and {kind} in its body")
    value(shapes[name], body, f"{what}, {name},")


def value(shape, found, what):
    if shape.type_name == "structure":
        structure(shape, found, what)
    elif shape.type_name == "list":
        true(isinstance(found, list), f"{what} is no list: {found!r}")
        for number, each in enumerate(found):
            value(shape.member, each, f"{what}[{number}]")
    elif shape.type_name == "map":
        true(isinstance(found, dict), f"{what} is no map: {found!r}")
        for key, each in found.items():
            value(shape.key, key, f"{what}: a key")
            value(shape.value, each, f"{what}.{key}")
    else:
        kind = SCALARS[shape.type_name]
        is_number_of_its_own = kind is bool or not isinstance(found, bool)
        true(isinstance(found, kind) and is_number_of_its_own, f"{what} is no {shape.type_name}: {found!r}")
        words = getattr(shape, "enum", None)
        true(not words or found in words, f"{what} is none of {words}: {found!r}")


def structure(shape, found, what):
    true(isinstance(found, dict), f"{what} is no structure: {found!r}")
    wire_names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    unknown = sorted(set(found) - set(wire_names))
    true(not unknown, f"{what} has members that {shape.name} has not: {unknown}")
    absent = [name for name in shape.required_members if name not in found and (shape.name, name) not in LEFT_OUT]
    true(not absent, f"{what} lacks members that {shape.name} must have: {absent}")
    is_one = not getattr(shape, "is_tagged_union", False) or len(found) == 1
    true(is_one, f"{what} has not one member of the union {shape.name}: {found}")
    for name, each in found.items():
        value(wire_names[name], each, f"{what}.{name}")

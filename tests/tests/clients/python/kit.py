"""What the scripts of boto3 share: clients that count what worked, errors by their class, and patience."""

import contextlib
import datetime
import time

import answers
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from check import equal, true

ACCOUNT = "111122223333"
REGION = "us-west-2"
SERVICES = ("appmesh", "servicediscovery", "sts")
# The one operation of STS that there is without AWS.
STS_OPERATIONS = {"GetCallerIdentity"}
# How long an operation of Cloud Map, or a change of health, may take.
PATIENCE = 60


def is_recent(timestamp, what):
    """A timestamp of a client is a time with a zone, and of this run."""
    true(isinstance(timestamp, datetime.datetime), f"{what} is no time but {timestamp!r}")
    true(timestamp.tzinfo is not None, f"{what} has no zone: {timestamp!r}")
    age = datetime.datetime.now(datetime.timezone.utc) - timestamp
    # Clients see milliseconds; the clocks of client and server are one.
    true(abs(age) < datetime.timedelta(hours=1), f"{what} is {age} old: {timestamp}")


def until(what, look):
    """Polls until there is an answer."""
    end = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        true(time.monotonic() < end, f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


def tags(**pairs):
    """Tags as App Mesh writes them."""
    return [{"key": key, "value": value} for key, value in pairs.items()]


def Tags(**pairs):
    """Tags as Cloud Map writes them."""
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


class Clients:
    """boto3's clients, which count what worked and what was raised."""

    def __init__(self):
        self.succeeded = {service: set() for service in SERVICES}
        self.raised = {service: set() for service in SERVICES}
        # The members of inputs that the server took, as (operation, member).
        self.sent = {service: set() for service in SERVICES}
        # One attempt: what a script sees is what the server answered.
        config = Config(retries={"total_max_attempts": 1})
        for service in SERVICES:
            client = boto3.client(service, config=config)
            client.meta.events.register("provide-client-params", self.note)
            client.meta.events.register("before-parse", answers.check)
            client.meta.events.register("after-call", self.count(service))
            setattr(self, service, client)

    @staticmethod
    def note(params, context, **_):
        """Before the client itself adds members, as it does with tokens."""
        context["tombolo_sent"] = set(params)

    def count(self, service):
        def after_call(http_response, parsed, model, context, **_):
            if http_response.status_code == 200:
                self.succeeded[service].add(model.name)
                self.sent[service] |= {(model.name, member) for member in context["tombolo_sent"]}
            else:
                self.raised[service].add(parsed["Error"]["Code"])

        return after_call

    def missing(self):
        """The operations of botocore's models that never worked, and the members of their inputs that none had."""
        for service in SERVICES:
            model = getattr(self, service).meta.service_model
            wanted = STS_OPERATIONS if service == "sts" else set(model.operation_names)
            for operation in sorted(wanted - self.succeeded[service]):
                yield f"{service} {operation}"
            for operation in sorted(wanted):
                shape = model.operation_model(operation).input_shape
                for member in shape.members if shape else ():
                    if (operation, member) not in self.sent[service]:
                        yield f"{service} {operation}.{member}"


@contextlib.contextmanager
def raises(client, name, **members):
    """What is done inside raises this class of the client's, with these members."""
    wanted = getattr(client.exceptions, name)
    try:
        yield
    except ClientError as error:
        equal(type(error).__name__, wanted.__name__, f"the class of {error}")
        true(isinstance(error, wanted), f"{error!r} is no {wanted!r}")
        equal(error.response["Error"]["Code"], name, "the code")
        true(error.response["Error"]["Message"], f"{name} has no message")
        for member, value in members.items():
            equal(error.response.get(member), value, f"{name}.{member}")
    else:
        raise AssertionError(f"no {name} was raised")


def finished(servicediscovery, operation_id):
    """The operation of Cloud Map when it has ended well."""

    def look():
        operation = servicediscovery.get_operation(OperationId=operation_id)["Operation"]
        true(operation["Status"] != "FAIL", f"the operation failed: {operation}")
        return operation["Status"] == "SUCCESS" and operation

    return until(f"operation {operation_id} ends", look)

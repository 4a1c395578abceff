"""A tool that plans: it compares what is wanted with what is there, and does the difference."""

import dataclasses
import typing


@dataclasses.dataclass
class Resource:
    """Something that is wanted: how it is called, by whom it is provided, and what it is like."""

    address: str
    provider: typing.Any
    wanted: dict
    # What the provider needs to find it again, once it is there.
    state: typing.Any = None


class Tool:
    """Keeps resources as they are wanted. Those on which others depend come first."""

    def __init__(self, resources):
        self.resources = list(resources)

    def __getitem__(self, address):
        return next(each for each in self.resources if each.address == address)

    def plan(self, only=None):
        """What must be done, in order: (address, action, member)."""
        return [action for resource in self.of(only) for action in self.difference(resource)[1]]

    def apply(self, only=None):
        """Plans, one resource after the other, and does what is planned."""
        done = []
        for resource in self.of(only):
            found, actions = self.difference(resource)
            if not found:
                # References are resolved now, since what they name is there now.
                resource.wanted = resolve(resource.wanted, self)
                resource.state = resource.provider.create(resource.wanted)
            elif actions:
                changed = [member for _, _, member in actions]
                resource.provider.update(resource.state, found, resource.wanted, changed)
            done += actions
        return done

    def of(self, only):
        return [only] if only else self.resources

    def difference(self, resource):
        """What is there, and what must be done."""
        found = resource.state and resource.provider.read(resource.state)
        if not found:
            return None, [(resource.address, "create", None)]
        # What is computed by the service is there but not wanted; it never makes a difference.
        changed = [member for member, value in resource.wanted.items() if found.get(member) != value]
        return found, [(resource.address, "update", member) for member in changed]

    def destroy(self):
        """Deletes all in reverse, and sees each vanish."""
        for resource in reversed(self.resources):
            resource.provider.delete(resource.state)
            found = resource.provider.read(resource.state)
            if found:
                raise AssertionError(f"{resource.address} is still there: {found}")
            resource.state = None


@dataclasses.dataclass(frozen=True)
class Id:
    """In what is wanted: the id that another resource will have."""

    address: str


def resolve(value, tool):
    if isinstance(value, Id):
        return tool[value.address].state["id"]
    if isinstance(value, dict):
        return {name: resolve(inner, tool) for name, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, tool) for inner in value]
    return value

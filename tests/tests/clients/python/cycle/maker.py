"""Values of shapes of botocore's model: random, but those that the service takes, with a way to change each leaf."""

import copy
import string

LETTERS = string.ascii_letters + string.digits
# How many items a list gets; longer ones tell nothing more.
ITEMS = 3


class Made:
    """A value, and how another value is made for each of its leaves."""

    def __init__(self, value, leaves):
        self.value = value
        self.leaves = leaves

    def with_one_change(self, random):
        """The same with another value in one leaf; None when all its leaves are settled."""
        paths = list(self.leaves)
        random.shuffle(paths)
        for path in paths:
            changed = copy.deepcopy(self.value)
            place = changed
            for step in path[:-1]:
                place = place[step]
            for _ in range(20):
                place[path[-1]] = self.leaves[path]()
                if changed != self.value:
                    return changed
        return None


class Maker:
    """Walks shapes. `rules` says, by name, how the shapes are made that have rules which no model tells."""

    def __init__(self, model, random, rules):
        self.model = model
        self.random = random
        self.rules = rules
        self.leaves = {}

    def make(self, name, **settled):
        """A value of a structure; `settled` are members that are given."""
        self.leaves = {}
        shape = self.model.shape_for(name)
        value = self.structure(shape, (), **settled)
        return Made(value, self.leaves)

    def value(self, shape, path):
        if shape.type_name == "structure":
            return self.structure(shape, path)
        if shape.type_name == "list":
            return self.items(shape, path)
        return self.leaf(path, lambda: self.scalar(shape))

    def leaf(self, path, make):
        self.leaves[path] = make
        return make()

    def structure(self, shape, path, **settled):
        # By member: a value, None to leave it out, or `...` to make one.
        chosen = dict(settled)
        rule = self.rules.structures.get(shape.name)
        if rule:
            chosen |= rule(self, path)
        if shape.is_tagged_union:
            kind = next(iter(chosen), None) or self.random.choice(list(shape.members))
            chosen = dict.fromkeys(shape.members) | chosen | {kind: chosen.get(kind, ...)}
        made = {}
        for name, member in shape.members.items():
            value = chosen[name] if name in chosen else self.chance(shape, name)
            if value is not None:
                made[name] = self.value(member, (*path, name)) if value is ... else value
        return made

    def chance(self, shape, name):
        return ... if name in shape.required_members or self.random.random() < 0.6 else None

    def items(self, shape, path):
        least = max(shape.metadata.get("min", 0), 1)
        count = self.random.randint(least, max(least, min(shape.metadata.get("max", ITEMS), ITEMS)))
        values = []
        for _ in range(count):
            value = self.value(shape.member, (*path, len(values)))
            # Lists of names and of events are sets to most tools.
            if value not in values:
                values.append(value)
        for gone in range(len(values), count):
            for leaf in [leaf for leaf in self.leaves if leaf[: len(path) + 1] == (*path, gone)]:
                del self.leaves[leaf]
        return values

    def scalar(self, shape):
        rule = self.rules.scalars.get(shape.name)
        if rule:
            return rule(self.random)
        if shape.type_name in ("integer", "long"):
            return self.random.randint(shape.metadata.get("min", 0), shape.metadata.get("max", 100_000))
        if shape.type_name == "boolean":
            return self.random.choice((True, False))
        if shape.type_name != "string":
            raise AssertionError(f"no values of {shape.type_name} {shape.name}")
        if shape.enum:
            return self.random.choice(shape.enum)
        return text(self.random, shape.metadata.get("max", 30))


def text(random, longest=30, letters=LETTERS):
    return "".join(random.choices(letters, k=random.randint(1, min(longest, 30))))


def members(shape, value):
    """The members and the words of enums that are in a value."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield shape.name, name
            yield from members(shape.members[name], inner)
    elif shape.type_name == "list":
        for inner in value:
            yield from members(shape.member, inner)
    elif shape.type_name == "string" and shape.enum:
        yield shape.name, value


def wanted(model, *names):
    """The members and the words of enums that there are below these shapes."""
    found, shapes = set(), [model.shape_for(name) for name in names]
    while shapes:
        shape = shapes.pop()
        if shape.type_name == "list":
            shapes.append(shape.member)
        elif shape.type_name == "structure":
            for name, member in shape.members.items():
                if (shape.name, name) not in found:
                    found.add((shape.name, name))
                    shapes.append(member)
        elif shape.type_name == "string" and shape.enum:
            found |= {(shape.name, word) for word in shape.enum}
    return found

//! Changes of a valid input that violate a constraint, or just satisfy it.

use crate::{
    build::Builder,
    constraint::{Constraint, Rule, Step},
};
use serde_json::{Map, Value, json};
use tombolo_tests::model::Shape;

/// A change of a valid input.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The name of the change in the tables: `max`, `at max`, `word`.
    pub(crate) name: &'static str,
    /// The changed input.
    pub(crate) input: Value,
}

impl Constraint<'_> {
    /// Changes of a valid input that violate the rule.
    pub(crate) fn broken(&self, builder: &Builder<'_>, legal: &Value) -> Vec<Change> {
        let (path, shape) = (&self.place.path, self.place.shape);
        let inputs = match self.rule {
            Rule::Required => vec![without(legal, path), self.with(legal, Value::Null)],
            Rule::Type => {
                let wrong = self.wrong_types(legal).into_iter();
                wrong.map(|wrong| self.with(legal, wrong)).collect()
            }
            Rule::Whole => vec![self.with(legal, json!(1.5))],
            Rule::Width => vec![self.with(legal, json!(widest(shape) + 1))],
            Rule::Enum => vec![self.with(legal, json!("no-such-word"))],
            Rule::Pattern => {
                let misfits = builder.misfits(shape).into_iter();
                misfits.map(|misfit| self.with(legal, misfit)).collect()
            }
            Rule::Min(bound) => vec![self.sized(builder, legal, bound - 1)],
            Rule::Max(bound) => vec![self.sized(builder, legal, bound + 1)],
            Rule::NotNone => vec![self.with(legal, json!({}))],
            Rule::NotTwo => vec![self.with(legal, self.two(builder, legal))],
        };
        let name = self.rule.name();
        let change = |input| Change { name, input };
        inputs.into_iter().map(change).collect()
    }

    /// Changes of a valid input that just satisfy the rule.
    pub(crate) fn kept(&self, builder: &Builder<'_>, legal: &Value) -> Vec<Change> {
        let (path, shape, spot) = (&self.place.path, self.place.shape, &self.place.spot);
        let change = |name, input| vec![Change { name, input }];
        match self.rule {
            Rule::Min(bound) => change("at min", self.sized(builder, legal, bound)),
            Rule::Max(bound) => {
                let mut kept = change("at max", self.sized(builder, legal, bound));
                // Lengths count characters, not bytes.
                if shape.kind() == "string" && builder.is_free(shape, spot) {
                    let wide = WIDE.repeat(usize::try_from(bound).expect("not negative"));
                    let input = self.with(legal, json!(wide));
                    kept.extend([Change {
                        name: "wide",
                        input,
                    }]);
                }
                kept
            }
            // A server that is older than its client drops unknown members.
            Rule::Type if shape.kind() == "structure" && !shape.is_union() => {
                let mut structure = get(legal, path).cloned().unwrap_or_default();
                structure["notYetKnown"] = json!({});
                change("extra", self.with(legal, structure))
            }
            Rule::Width => change("at width", self.with(legal, json!(widest(shape)))),
            Rule::Enum => {
                let word = |word: &str| Change {
                    name: "word",
                    input: self.with(legal, json!(word)),
                };
                shape.words().into_iter().map(word).collect()
            }
            Rule::Pattern => {
                let fit = |fit: Value| Change {
                    name: "fit",
                    input: self.with(legal, fit),
                };
                builder.fits(shape).into_iter().map(fit).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Values of other JSON types that resemble the right one.
    fn wrong_types(&self, legal: &Value) -> Vec<Value> {
        let (path, shape) = (&self.place.path, self.place.shape);
        let right = get(legal, path);
        let object = right.and_then(Value::as_object);
        let values: Vec<Value> = object
            .into_iter()
            .flat_map(|o| o.values().cloned())
            .collect();
        let mut wrong = match shape.kind() {
            "string" => vec![json!(12), json!(["text"])],
            "structure" | "map" => vec![json!("text"), json!([]), json!(values)],
            "list" => vec![json!("text"), json!({})],
            _ => vec![json!("text"), json!([1])],
        };
        if !self.place.is_text {
            wrong.extend(match shape.kind() {
                "integer" | "long" => Some(json!("5000")),
                "boolean" => Some(json!("true")),
                _ => None,
            });
        }
        wrong
    }

    fn with(&self, legal: &Value, value: Value) -> Value {
        let mut input = legal.clone();
        put(&mut input, &self.place.path, value);
        input
    }

    fn sized(&self, builder: &Builder<'_>, legal: &Value, size: i64) -> Value {
        let (shape, spot) = (self.place.shape, &self.place.spot);
        let count = || usize::try_from(size).expect("lengths and sizes are not negative");
        let value = match shape.kind() {
            "string" => builder.text(shape, spot, count()),
            "list" => builder.list(shape, count()),
            "map" => builder.map(shape, count()),
            "integer" | "long" => json!(size),
            other => panic!("{}: no bound of a {other} is known", spot),
        };
        self.with(legal, value)
    }

    /// The union with a second member.
    fn two(&self, builder: &Builder<'_>, legal: &Value) -> Value {
        let mut union = get(legal, &self.place.path).cloned().unwrap_or_default();
        let object = union.as_object_mut().expect("unions are objects");
        let second = self
            .place
            .shape
            .members()
            .find(|member| !object.contains_key(member.name))
            .expect("this union has two members");
        let spot = format!("{}.{}", self.place.shape.name, second.name);
        let value = builder.build(second.shape, &spot, &[]);
        object.insert(second.name.to_owned(), value);
        union
    }
}

/// A character of two bytes.
const WIDE: &str = "é";

/// The greatest number of a type.
fn widest(shape: Shape<'_>) -> u64 {
    match shape.kind() {
        "integer" => i32::MAX as u64,
        _ => i64::MAX as u64,
    }
}

fn get<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Element => value.get(0),
        Step::Key => None,
        Step::Value => value.as_object()?.values().next(),
    })
}

/// Whether there is a value at the path.
pub(crate) fn is_at(value: &Value, path: &[Step]) -> bool {
    match path {
        [parent @ .., Step::Key] => {
            get(value, parent).is_some_and(|map| map.as_object().is_some_and(|map| !map.is_empty()))
        }
        path => get(value, path).is_some(),
    }
}

fn parent<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Member(name) => &mut value[name],
        Step::Element => &mut value[0],
        Step::Value => first_value(value),
        Step::Key => panic!("nothing is inside a key"),
    })
}

fn first_value(value: &mut Value) -> &mut Value {
    let map = value.as_object_mut().expect("a map");
    map.values_mut().next().expect("not empty")
}

fn put(value: &mut Value, path: &[Step], new: Value) {
    let (last, before) = path.split_last().expect("a path has steps");
    let place = parent(value, before);
    match last {
        Step::Member(name) => place[name] = new,
        Step::Element => place[0] = new,
        Step::Value => *first_value(place) = new,
        Step::Key => {
            let map = place.as_object_mut().expect("a map");
            let values = std::mem::take(map).into_iter().map(|(_, value)| value);
            let key = new.as_str().expect("keys are texts").to_owned();
            *map = values
                .take(1)
                .map(|value| (key.clone(), value))
                .collect::<Map<_, _>>();
        }
    }
}

fn without(value: &Value, path: &[Step]) -> Value {
    let mut value = value.clone();
    let (last, before) = path.split_last().expect("a path has steps");
    let Step::Member(name) = last else {
        panic!("only members are required");
    };
    let object = parent(&mut value, before).as_object_mut();
    object.expect("a structure").shift_remove(name);
    value
}

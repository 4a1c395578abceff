//! The constraints of an input.

use std::fmt;
use tombolo_tests::model::{Operation, Shape};

/// A step from a value to a nested one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member of a structure.
    Member(String),
    /// The first element of a list.
    Element,
    /// The first key of a map.
    Key,
    /// The value of the first key of a map.
    Value,
}

/// A rule of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A required member.
    Required,
    /// The JSON type of a value.
    Type,
    /// An integer.
    Whole,
    /// An integer of a limited width.
    Width,
    /// A value of an enumeration.
    Enum,
    /// A string with a pattern.
    Pattern,
    /// The minimum length, size or number.
    Min(i64),
    /// The maximum length, size or number.
    Max(i64),
    /// A union with at least one member.
    NotNone,
    /// A union with at most one member.
    NotTwo,
}

/// A place in an operation's input.
#[derive(Clone)]
pub(crate) struct Place<'a> {
    /// The path to the value.
    pub(crate) path: Vec<Step>,
    /// The shape of the value.
    pub(crate) shape: Shape<'a>,
    /// The name of the member: `WeightedTarget.weight`.
    pub(crate) spot: String,
    /// Whether it can only hold text, as in paths, queries and keys.
    pub(crate) is_text: bool,
}

/// A rule at a place.
pub(crate) struct Constraint<'a> {
    /// The place.
    pub(crate) place: Place<'a>,
    /// The rule.
    pub(crate) rule: Rule,
}

impl<'a> Place<'a> {
    fn with(self, rule: Rule) -> Constraint<'a> {
        Constraint { place: self, rule }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Min(bound) => write!(f, "min {bound}"),
            Rule::Max(bound) => write!(f, "max {bound}"),
            rule => f.write_str(rule.name()),
        }
    }
}

impl Rule {
    /// The name of a violation in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Rule::Required => "required",
            Rule::Type => "type",
            Rule::Whole => "whole",
            Rule::Width => "width",
            Rule::Enum => "enum",
            Rule::Pattern => "pattern",
            Rule::Min(_) => "min",
            Rule::Max(_) => "max",
            Rule::NotNone => "no member",
            Rule::NotTwo => "two members",
        }
    }
}

/// A path in text form: `spec.listeners[0].portMapping.port`.
pub(crate) fn show(path: &[Step]) -> String {
    let mut shown = String::new();
    for step in path {
        match step {
            Step::Member(name) if shown.is_empty() => shown += name,
            Step::Member(name) => shown += &format!(".{name}"),
            Step::Element => shown += "[0]",
            Step::Key => shown += "{key}",
            Step::Value => shown += "{value}",
        }
    }
    shown
}

/// All constraints of an operation's input.
pub(crate) fn all(operation: Operation<'_>) -> Vec<Constraint<'_>> {
    let mut found = Vec::new();
    let Some(input) = operation.input() else {
        return found;
    };
    for member in input.members() {
        let place = Place {
            path: vec![Step::Member(member.name.to_owned())],
            shape: member.shape,
            spot: format!("{}.{}", input.name, member.name),
            is_text: member.location().is_some(),
        };
        // A path without a name is the path of another operation.
        if input.requires(member.name) && member.location() != Some("uri") {
            found.push(place.clone().with(Rule::Required));
        }
        collect(place, &mut found);
    }
    found
}

fn collect<'a>(place: Place<'a>, found: &mut Vec<Constraint<'a>>) {
    let shape = place.shape;
    let rules = rules(shape, place.is_text).into_iter();
    found.extend(rules.map(|rule| place.clone().with(rule)));
    let deeper = |step: Step, shape: Shape<'a>, spot: String| Place {
        path: [place.path.as_slice(), &[step]].concat(),
        shape,
        spot,
        is_text: false,
    };
    match shape.kind() {
        "structure" => {
            for member in shape.members() {
                let step = Step::Member(member.name.to_owned());
                let spot = format!("{}.{}", shape.name, member.name);
                let place = deeper(step, member.shape, spot);
                if shape.requires(member.name) {
                    found.push(place.clone().with(Rule::Required));
                }
                collect(place, found);
            }
        }
        "list" => {
            let spot = format!("{}[]", shape.name);
            collect(deeper(Step::Element, shape.element(), spot), found);
        }
        "map" => {
            let spot = format!("{}{{key}}", shape.name);
            let key = Place {
                is_text: true,
                ..deeper(Step::Key, shape.key(), spot)
            };
            collect(key, found);
            let spot = format!("{}{{value}}", shape.name);
            collect(deeper(Step::Value, shape.value(), spot), found);
        }
        _ => {}
    }
}

/// The rules of a shape alone.
fn rules(shape: Shape<'_>, is_text: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    let is_number = matches!(shape.kind(), "integer" | "long");
    if !is_text || shape.kind() != "string" {
        rules.push(Rule::Type);
    }
    if is_number {
        rules.push(Rule::Whole);
    }
    if is_number && shape.max().is_none() {
        rules.push(Rule::Width);
    }
    if !shape.words().is_empty() {
        rules.push(Rule::Enum);
    }
    if shape.pattern().is_some() {
        rules.push(Rule::Pattern);
    }
    // An empty value cannot be too short.
    let min = shape.min().filter(|min| is_number || *min > 0);
    rules.extend(min.map(Rule::Min));
    rules.extend(shape.max().map(Rule::Max));
    if shape.is_union() {
        rules.push(Rule::NotNone);
    }
    if shape.is_union() && shape.members().count() > 1 {
        rules.push(Rule::NotTwo);
    }
    rules
}

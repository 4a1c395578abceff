//! Validation of objects: every violation, with the path of its field.
//!
//! [`Validator`] collects violations; types with rules implement [`Validate`]. These are the rules within one object;
//! those between objects are in [`crate::apply`].

use crate::{FieldPath, Segment, field_path::camel_case};
use std::{fmt, ops::RangeInclusive};

/// A violated rule: the invalid field, and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// The invalid field; the root for the object itself.
    pub field: FieldPath,
    /// The error and the remedy. Starts in lower case, because it follows the path.
    pub message: String,
}

impl Violation {
    /// A violation at `field`, written as in `spec.listeners[0].tls`.
    pub fn new(field: impl Into<FieldPath>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_root() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// All violations of an object; never empty. As text they are separated by semicolons, in the message of a
/// `BadRequestException` and of an admission denial alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violations(pub Vec<Violation>);

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self(vec![violation])
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

/// The form in which an object is written. Most rules hold in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As in a call of the App Mesh API.
    Api,
    /// As in an `appmesh.k8s.aws/v1beta2` object: with the bounds of the CRD schema and the rules of the webhook.
    Kubernetes,
}

/// A value with rules beyond its type.
pub trait Validate {
    /// Reports every violation below this value to `validator`. By default there are no rules.
    fn validate(&self, validator: &mut Validator) {
        let _ = validator;
    }
}

/// A value with bounds: of a number its value, of a text its length in characters.
pub trait Bounded {
    /// Reports a violation when this value, if there is one, is out of bounds.
    fn validate_in(&self, validator: &mut Validator, bounds: RangeInclusive<i64>);
}

macro_rules! bounded_numbers {
    ($($number:ty),+) => {$(
        impl Bounded for $number {
            fn validate_in(&self, validator: &mut Validator, bounds: RangeInclusive<i64>) {
                validator.range_here(*self, *bounds.start(), *bounds.end());
            }
        }
    )+};
}
bounded_numbers!(u16, u32, i64);

impl Bounded for String {
    fn validate_in(&self, validator: &mut Validator, bounds: RangeInclusive<i64>) {
        let bound = |bound: i64| usize::try_from(bound).unwrap_or(0);
        validator.length_here(self, bound(*bounds.start()), bound(*bounds.end()));
    }
}

impl<T: Bounded> Bounded for Option<T> {
    fn validate_in(&self, validator: &mut Validator, bounds: RangeInclusive<i64>) {
        if let Some(value) = self {
            value.validate_in(validator, bounds);
        }
    }
}

impl<T: Validate> Validate for Option<T> {
    fn validate(&self, validator: &mut Validator) {
        if let Some(value) = self {
            value.validate(validator);
        }
    }
}

impl<T: Validate> Validate for [T] {
    fn validate(&self, validator: &mut Validator) {
        for (index, item) in self.iter().enumerate() {
            validator.item(index, |validator| item.validate(validator));
        }
    }
}

impl<T: Validate> Validate for Vec<T> {
    fn validate(&self, validator: &mut Validator) {
        self.as_slice().validate(validator);
    }
}

/// Collects violations, each with the path at which it was found.
#[derive(Debug)]
pub struct Validator {
    form: Form,
    /// The current path. Becomes a [`FieldPath`] only for a violation.
    steps: Vec<Step>,
    violations: Vec<Violation>,
}

#[derive(Debug)]
enum Step {
    /// A member, as it is written or in snake case.
    Member(&'static str),
    Item(usize),
}

impl Validator {
    /// A validator at the root of an object.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            steps: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// The violations of `value`, whose path is `spec`.
    pub fn spec(form: Form, value: &(impl Validate + ?Sized)) -> Vec<Violation> {
        let mut validator = Self::new(form);
        validator.field("spec", value);
        validator.violations
    }

    /// Whether the object is in the form of Kubernetes.
    pub fn is_kubernetes(&self) -> bool {
        self.form == Form::Kubernetes
    }

    /// The violations found so far.
    pub fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    /// Checks `value`, the member `name` of the current path.
    pub fn field(&mut self, name: &'static str, value: &(impl Validate + ?Sized)) {
        self.within(name, |validator| value.validate(validator));
    }

    /// Runs `check` with the current path one field further in.
    pub fn within(&mut self, name: &'static str, check: impl FnOnce(&mut Self)) {
        self.steps.push(Step::Member(name));
        check(self);
        self.steps.pop();
    }

    /// Runs `check` with the current path one list item further in.
    pub fn item(&mut self, index: usize, check: impl FnOnce(&mut Self)) {
        self.steps.push(Step::Item(index));
        check(self);
        self.steps.pop();
    }

    /// Runs `check` on each item of the list `name`.
    pub fn each<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        mut check: impl FnMut(&mut Self, &T),
    ) {
        self.within(name, |validator| {
            for (index, item) in items.iter().enumerate() {
                validator.item(index, |validator| check(validator, item));
            }
        });
    }

    /// Reports a violation at `name`.
    pub fn deny(&mut self, name: &'static str, message: impl Into<String>) {
        self.within(name, |validator| validator.deny_here(message));
    }

    /// Reports a violation at a path below the current one, for example `healthCheck.port`.
    pub fn deny_at(&mut self, field: impl Into<FieldPath>, message: impl Into<String>) {
        let field = self.path().join(&field.into());
        self.violations.push(Violation::new(field, message));
    }

    /// Reports a violation of the value at the current path.
    pub fn deny_here(&mut self, message: impl Into<String>) {
        self.violations.push(Violation::new(self.path(), message));
    }

    fn path(&self) -> FieldPath {
        let segment = |step: &Step| match step {
            Step::Member(name) => Segment::Field(camel_case(name)),
            Step::Item(index) => Segment::Index(*index),
        };
        self.steps.iter().map(segment).collect()
    }

    /// `value` must be in `min..=max`.
    pub fn range(&mut self, name: &'static str, value: impl Into<i64>, min: i64, max: i64) {
        self.within(name, |validator| validator.range_here(value, min, max));
    }

    /// As [`Self::range`], for the value at the current path.
    pub fn range_here(&mut self, value: impl Into<i64>, min: i64, max: i64) {
        let value = value.into();
        if value < min || value > max {
            let bounds = if max == i64::MAX {
                format!("at least {min}")
            } else {
                format!("from {min} to {max}")
            };
            self.deny_here(format!("{value} is out of range; it must be {bounds}"));
        }
    }

    /// A port, if any, is 1 to 65535; the type already holds the upper bound.
    pub fn port(&mut self, name: &'static str, port: impl Into<Option<u16>>) {
        if let Some(port) = port.into() {
            self.range(name, port, 1, 65535);
        }
    }

    /// `text` must have `min..=max` characters.
    pub fn length(&mut self, name: &'static str, text: &str, min: usize, max: usize) {
        self.within(name, |validator| validator.length_here(text, min, max));
    }

    /// As [`Self::length`], for the text at the current path.
    pub fn length_here(&mut self, text: &str, min: usize, max: usize) {
        let length = text.chars().count();
        if length < min && length == 0 {
            self.deny_here("must not be empty");
        } else if length < min || length > max {
            self.deny_here(format!(
                "has {length} characters; it must have {min} to {max}"
            ));
        }
    }

    /// As [`Self::length`], when there is a text.
    pub fn optional_length(
        &mut self,
        name: &'static str,
        text: Option<&String>,
        min: usize,
        max: usize,
    ) {
        if let Some(text) = text {
            self.length(name, text, min, max);
        }
    }

    /// A list, if present, must have `min..=max` items.
    pub fn items<T>(&mut self, name: &'static str, list: Option<&[T]>, min: usize, max: usize) {
        if let Some(list) = list
            && (list.len() < min || list.len() > max)
        {
            let bounds = match max {
                usize::MAX => format!("at least {min}"),
                max if max == min => format!("exactly {min}"),
                max => format!("{min} to {max}"),
            };
            let count = list.len();
            self.deny(name, format!("has {count} items; it must have {bounds}"));
        }
    }

    /// Exactly one of `members` (name, present) of the value at the current path must be present.
    pub fn exactly_one(&mut self, members: &[(&str, bool)]) {
        let present = members.iter().filter(|(_, present)| *present).count();
        let names = members.iter().map(|(name, _)| *name);
        self.exactly_one_of(names, present);
    }

    /// Exactly one of two texts (name, text) must be given, with 1 to `max` characters.
    pub fn one_text_of(&mut self, members: [(&'static str, &Option<String>); 2], max: usize) {
        self.exactly_one(&members.map(|(name, text)| (name, text.is_some())));
        for (name, text) in members {
            if let Some(text) = text {
                self.length(name, text, 1, max);
            }
        }
    }

    /// Exactly one of `names` must be given at the current path; `given` are.
    pub fn exactly_one_of<'a>(&mut self, names: impl IntoIterator<Item = &'a str>, given: usize) {
        if given == 1 {
            return;
        }
        let names: Vec<&str> = names.into_iter().collect();
        let names = names.join(", ");
        self.deny_here(if given == 0 {
            format!("needs exactly one of {names}; none is given")
        } else {
            format!("needs exactly one of {names}; {given} are given")
        });
    }

    /// The two `members` (name, present) of the value at the current path exclude each other.
    pub fn not_both(&mut self, members: [(&str, bool); 2]) {
        if let [(a, true), (b, true)] = members {
            self.deny_here(format!("must not have both {a} and {b}; keep one"));
        }
    }
}

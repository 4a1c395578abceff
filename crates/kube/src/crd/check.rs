//! Bounds of the schema, checked on typed values so that all violations of an object are reported together.

use crate::field::{Denial, FieldPath, Segment};

/// A value whose schema has bounds that its type does not express.
pub trait Check {
    /// Reports every violation below this value to `checker`.
    fn check(&self, checker: &mut Checker);
}

impl<T: Check> Check for Option<T> {
    fn check(&self, checker: &mut Checker) {
        if let Some(value) = self {
            value.check(checker);
        }
    }
}

impl<T: Check> Check for Vec<T> {
    fn check(&self, checker: &mut Checker) {
        for (index, item) in self.iter().enumerate() {
            checker.path.push(Segment::Index(index));
            item.check(checker);
            checker.path.pop();
        }
    }
}

/// Collects violations, each with the path at which it was found.
#[derive(Debug, Default)]
pub struct Checker {
    path: FieldPath,
    denials: Vec<Denial>,
}

impl Checker {
    /// The violations of `value`, which stands at `spec`.
    pub fn spec(value: &impl Check) -> Vec<Denial> {
        let mut checker = Self::default();
        checker.field("spec", value);
        checker.denials
    }

    /// The violations found so far.
    pub fn into_denials(self) -> Vec<Denial> {
        self.denials
    }

    /// Checks `value`, which stands at `name` below the current path.
    pub fn field(&mut self, name: &str, value: &impl Check) {
        self.within(name, |checker| value.check(checker));
    }

    /// Runs `check` with the current path one field further in.
    pub fn within(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        self.path.push(Segment::Field(name.to_owned()));
        check(self);
        self.path.pop();
    }

    /// Runs `check` on each item of the list that stands at `name`.
    pub fn each<T>(&mut self, name: &str, items: &[T], mut check: impl FnMut(&mut Self, &T)) {
        self.within(name, |checker| {
            for (index, item) in items.iter().enumerate() {
                checker.path.push(Segment::Index(index));
                check(checker, item);
                checker.path.pop();
            }
        });
    }

    /// Reports a violation at `name`.
    pub fn deny(&mut self, name: &str, message: impl Into<String>) {
        let field = self.path.clone().field(name);
        self.denials.push(Denial::new(field, message));
    }

    /// Reports a violation of the value at the current path.
    pub fn deny_here(&mut self, message: impl Into<String>) {
        self.denials.push(Denial::new(self.path.clone(), message));
    }

    /// `value` must lie in `min..=max`.
    pub fn range(&mut self, name: &str, value: impl Into<i64>, min: i64, max: i64) {
        let value = value.into();
        if value < min || value > max {
            let bounds = if max == i64::MAX {
                format!("at least {min}")
            } else {
                format!("from {min} to {max}")
            };
            self.deny(
                name,
                format!("{value} is out of range; it must be {bounds}"),
            );
        }
    }

    /// A port is 1 to 65535; the type already holds the upper bound.
    pub fn port(&mut self, name: &str, port: u16) {
        self.range(name, port, 1, 65535);
    }

    /// `text` must have `min..=max` characters.
    pub fn length(&mut self, name: &str, text: &str, min: usize, max: usize) {
        let length = text.chars().count();
        if length < min && length == 0 {
            self.deny(name, "must not be empty");
        } else if length < min || length > max {
            self.deny(
                name,
                format!("has {length} characters; it must have {min} to {max}"),
            );
        }
    }

    /// As [`Self::length`], when there is a text.
    pub fn optional_length(&mut self, name: &str, text: Option<&String>, min: usize, max: usize) {
        if let Some(text) = text {
            self.length(name, text, min, max);
        }
    }

    /// A list, if present, must have `min..=max` items.
    pub fn items<T>(&mut self, name: &str, list: Option<&Vec<T>>, min: usize, max: usize) {
        if let Some(list) = list
            && (list.len() < min || list.len() > max)
        {
            let bounds = if min == max {
                format!("exactly {min}")
            } else {
                format!("{min} to {max}")
            };
            self.deny(
                name,
                format!("has {} items; it must have {bounds}", list.len()),
            );
        }
    }

    /// Exactly one of `members` (name, present) of the value at the current path must be present.
    ///
    /// The original schema left these unions open and the mesh API refused them later; saying it here names
    /// the field.
    pub fn exactly_one(&mut self, members: &[(&str, bool)]) {
        let present = members.iter().filter(|(_, present)| *present).count();
        if present == 1 {
            return;
        }
        let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        self.deny_here(if present == 0 {
            format!("needs exactly one of {names}; none is given")
        } else {
            format!("needs exactly one of {names}; {present} are given")
        });
    }

    /// At most one of `members` (name, present) of the value at the current path may be present.
    pub fn at_most_one(&mut self, members: &[(&str, bool)]) {
        let names: Vec<&str> = members
            .iter()
            .filter(|(_, present)| *present)
            .map(|(name, _)| *name)
            .collect();
        if names.len() > 1 {
            self.deny_here(format!(
                "{} exclude each other; keep one",
                names.join(" and ")
            ));
        }
    }
}

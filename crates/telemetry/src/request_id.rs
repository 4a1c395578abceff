//! Ids of API calls, which changes carry to the proxies.

use std::{fmt, sync::Arc};

/// The id of an API call, which its caller gets as `x-amzn-requestid`. Cheap to clone.
///
/// The change that the call makes carries it through commit, compilation and push to the
/// acknowledgements of the proxies; log lines and spans have it as `request_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id of this text, which is printable ASCII without spaces: a UUID, or a text that the caller chose.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The greatest number of request ids that are kept for one state: the newest.
const MAX_CAUSES: usize = 16;

/// The API calls that caused a change of state, oldest first: at most 16 ids, and the number of
/// calls before these. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Causes {
    /// `None` if there are no causes, which is frequent.
    list: Option<Arc<List>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct List {
    ids: Vec<RequestId>,
    omitted: usize,
}

impl Causes {
    /// Whether there are no API calls: the change came from the control plane itself.
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// The ids that are kept, oldest first.
    pub fn ids(&self) -> &[RequestId] {
        self.list.as_ref().map_or(&[], |list| &list.ids)
    }

    /// Adds a later id. Adding the newest again changes nothing.
    pub fn push(&mut self, id: RequestId) {
        if self.ids().last() == Some(&id) {
            return;
        }
        let list = Arc::make_mut(self.list.get_or_insert_default());
        if list.ids.len() == MAX_CAUSES {
            list.ids.remove(0);
            list.omitted += 1;
        }
        list.ids.push(id);
    }

    /// Adds later ids.
    pub fn extend(&mut self, later: &Causes) {
        if self.is_empty() {
            self.clone_from(later);
            return;
        }
        let Some(later) = &later.list else { return };
        later.ids.iter().cloned().for_each(|id| self.push(id));
        Arc::make_mut(self.list.get_or_insert_default()).omitted += later.omitted;
    }
}

impl FromIterator<RequestId> for Causes {
    fn from_iter<T: IntoIterator<Item = RequestId>>(ids: T) -> Self {
        let mut causes = Self::default();
        ids.into_iter().for_each(|id| causes.push(id));
        causes
    }
}

/// The ids separated by commas, then `and N earlier`.
impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(list) = &self.list else {
            return f.write_str("none");
        };
        for (index, id) in list.ids.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{id}")?;
        }
        match list.omitted {
            0 => Ok(()),
            omitted => write!(f, " and {omitted} earlier"),
        }
    }
}

impl fmt::Debug for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(ids: impl IntoIterator<Item = u32>) -> Causes {
        ids.into_iter()
            .map(|id| RequestId::new(format!("r{id}")))
            .collect()
    }

    #[test]
    fn causes_are_bounded_and_the_newest_stay() {
        let all = causes(0..20);
        assert_eq!(all.ids().len(), MAX_CAUSES);
        assert!(all.to_string().starts_with("r4,r5,"), "{all}");
        assert!(all.to_string().ends_with(",r19 and 4 earlier"), "{all}");
    }

    #[test]
    fn causes_of_later_states_follow() {
        let mut all = causes(0..2);
        all.extend(&Causes::default());
        all.extend(&causes(2..4));
        assert_eq!(all.to_string(), "r0,r1,r2,r3");
        let mut many = causes(0..10);
        many.extend(&causes(10..30));
        assert!(many.to_string().ends_with("r29 and 14 earlier"), "{many}");
        let mut none = Causes::default();
        assert_eq!(none.to_string(), "none");
        none.extend(&all);
        assert_eq!(none, all);
    }

    #[test]
    fn one_call_that_makes_many_changes_is_one_cause() {
        let all = causes([1, 1, 1, 2]);
        assert_eq!(all.to_string(), "r1,r2");
    }
}

//! Paging of lists. A token contains the last key of the previous page, so that changes between two pages do
//! not skip or repeat items.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use std::ops::RangeInclusive;

/// A request for a page of a list that is sorted by a text key.
#[derive(Debug)]
pub(crate) struct Paging {
    list: &'static str,
    limit: usize,
    after: Option<String>,
}

/// A page, and the token for the next one.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

impl<T> Default for Page<T> {
    /// The only page of an empty list.
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }
}

/// The maximum length of a token in bytes.
const MAX_TOKEN: usize = 4096;

/// A page size or token that is not valid. The message is for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PagingError {
    #[error("the page size {limit} is not between {min} and {max}")]
    PageSize { limit: i64, min: i64, max: i64 },
    #[error("the next token is not one that this list gave out")]
    Token,
}

impl Paging {
    /// A page of at most `limit` items; without a limit, of the greatest number in `bounds`. `list` is the name of the
    /// list: tokens of other lists are refused.
    ///
    /// # Errors
    /// The limit or the token is not valid.
    pub(crate) fn new(
        list: &'static str,
        limit: Option<i64>,
        bounds: RangeInclusive<i64>,
        token: Option<&str>,
    ) -> Result<Self, PagingError> {
        let (min, max) = (*bounds.start(), *bounds.end());
        let limit = limit.unwrap_or(max);
        if !bounds.contains(&limit) {
            return Err(PagingError::PageSize { limit, min, max });
        }
        let after = match token {
            None => None,
            Some(token) => Some(decode_token(list, token).ok_or(PagingError::Token)?),
        };
        Ok(Self {
            list,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            after,
        })
    }

    /// The same page with at most `limit` items.
    pub(crate) fn at_most(self, limit: usize) -> Self {
        let limit = self.limit.min(limit);
        Self { limit, ..self }
    }

    /// The key after which the page starts.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The page of the sorted list.
    pub(crate) fn page<T>(
        &self,
        sorted: impl Iterator<Item = T>,
        key: impl Fn(&T) -> &str,
    ) -> Page<T> {
        let mut rest =
            sorted.skip_while(|item| self.after().is_some_and(|after| key(item) <= after));
        let items: Vec<T> = rest.by_ref().take(self.limit).collect();
        let next = match (rest.next(), items.last()) {
            (Some(_), Some(last)) => Some(encode_token(self.list, key(last))),
            _ => None,
        };
        Page { items, next }
    }
}

/// A token: the list and the key in hexadecimal digits, so that callers treat it as opaque.
fn encode_token(list: &str, key: &str) -> String {
    HEXLOWER.encode(format!("{list}:{key}").as_bytes())
}

/// The key in a token; `None` if it is malformed or of another list.
fn decode_token(list: &str, token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let plain = HEXLOWER_PERMISSIVE.decode(token.as_bytes()).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    Some(plain.strip_prefix(list)?.strip_prefix(':')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[&'static str], limit: i64, token: Option<&str>) -> Page<&'static str> {
        Paging::new("things", Some(limit), 1..=100, token)
            .expect("legal")
            .page(items.iter().copied(), |item| item)
    }

    #[test]
    fn pages_cover_the_list_although_it_changes_between_them() {
        let first = page(&["a", "c", "e"], 2, None);
        assert_eq!(first.items, ["a", "c"]);
        // "c" is deleted, "b" and "d" are new.
        let second = page(&["a", "b", "d", "e"], 2, first.next.as_deref());
        assert_eq!(second.items, ["d", "e"]);
        assert_eq!(second.next, None);
    }

    #[test]
    fn a_full_last_page_has_no_token() {
        assert_eq!(page(&["a", "b"], 2, None).next, None);
        assert_eq!(page(&[], 2, None).next, None);
    }

    #[test]
    fn foreign_tokens_and_limits_are_refused() {
        for token in [
            "",
            "x",
            "zz",
            "abc",
            &encode_token("others", "a"),
            &"61".repeat(5000),
        ] {
            assert!(Paging::new("things", None, 1..=100, Some(token)).is_err());
        }
        for limit in [0, -1, 101, i64::MIN, i64::MAX] {
            assert!(Paging::new("things", Some(limit), 1..=100, None).is_err());
        }
    }
}

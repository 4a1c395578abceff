//! Formats errors with their causes on one line.

use std::{error::Error, fmt};

/// An error with its causes, outermost first: `cannot reach etcd: client error: connection refused`.
///
/// A cause is omitted if the text before it already ends with it.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot open the store")]
        Open(#[source] io::Error),
        #[error("cannot open the store: {0}")]
        Repeats(#[source] io::Error),
    }

    #[test]
    fn causes_follow_once() {
        let cause = || io::Error::other("disk full");
        let expected = "cannot open the store: disk full";
        assert_eq!(ErrorChain(&Outer::Open(cause())).to_string(), expected);
        assert_eq!(ErrorChain(&Outer::Repeats(cause())).to_string(), expected);
    }
}

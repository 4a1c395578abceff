//! Glob patterns of policies: `*` matches any text, `?` any one character.

/// Whether a pattern matches a text, with case.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    matches_by(|a, b| a == b, pattern, text)
}

/// Whether a pattern matches a text, without case, as for actions.
pub(super) fn matches_any_case(pattern: &str, text: &str) -> bool {
    matches_by(|a, b| a.eq_ignore_ascii_case(&b), pattern, text)
}

/// Whether a pattern matches a text, in time at most proportional to the product of both lengths.
fn matches_by(is_equal: impl Fn(u8, u8) -> bool, pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The position of the last star in the pattern, and the end of its match in the text, for backtracking.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || is_equal(byte, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("mesh/color*", "mesh/color/virtualNode/x", true),
            ("abc", "ab", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let (pattern, text) = ("a*".repeat(500) + "b", "a".repeat(2000));
        assert!(!matches(&pattern, &text), "in reasonable time");
    }

    #[test]
    fn actions_have_no_case() {
        assert!(matches_any_case("AppMesh:list*", "appmesh:ListMeshes"));
    }
}

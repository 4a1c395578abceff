//! A state as YAML, which an operator imports.
//!
//! Whatever it is: no panic, and every problem stands on a line of the text. What is read is written and
//! read again as the same.

use tombolo_store::export;

/// The target.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // For YAML, a carriage return by itself ends a line, too.
    let lines = text.split(['\n', '\r']).count() + 1;
    match export::read(text) {
        Ok(state) => {
            let mut written = Vec::new();
            export::write(&state, &mut written).expect("memory takes everything");
            let written = String::from_utf8(written).expect("exports are text");
            assert_eq!(export::read(&written), Ok(state), "{written}");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let line = problem.line;
                assert!((1..=lines).contains(&line), "{problem} ({lines} lines)");
            }
        }
    }
}

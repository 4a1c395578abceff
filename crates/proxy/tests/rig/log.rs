//! The log of the proxies of this process.

use std::io::Write;
use std::sync::OnceLock;

use parking_lot::Mutex;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = LINES.lock();
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures log lines from now on, from level `warn` up.
pub fn capture() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(|| Capture)
            .init();
    });
}

/// The captured lines that contain all of these texts.
pub fn lines(texts: &[&str]) -> Vec<String> {
    let lines = LINES.lock();
    let all = String::from_utf8_lossy(&lines);
    let wanted = |line: &&str| texts.iter().all(|text| line.contains(text));
    all.lines().filter(wanted).map(str::to_owned).collect()
}

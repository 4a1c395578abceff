//! `/memory`: the memory use of the process, in Envoy's fields (`envoy.admin.v3.Memory`).

use serde_json::{Value, json};

/// The kernel's figures in bytes, since the allocator reports none. Envoy's page heap and thread caches are part of
/// the process's anonymous memory here.
pub(super) fn usage() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name| bytes(&status, name).to_string();
    json!({
        "allocated": bytes("RssAnon"),
        "heap_size": bytes("VmData"),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": bytes("VmRSS"),
    })
}

/// A line of `/proc/self/status`, which counts in kB (proc_pid_status(5)).
fn bytes(status: &str, name: &str) -> u64 {
    let mut lines = status.lines();
    let kilobytes: Option<u64> = lines.find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    });
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_name() {
        let status = "VmData:\t    100 kB\nRssAnon:\t      12 kB\n";
        assert_eq!(bytes(status, "RssAnon"), 12 * 1024);
        assert_eq!(bytes(status, "VmRSS"), 0);
        let own = usage();
        assert_ne!(own["allocated"], "0", "{own}");
    }
}

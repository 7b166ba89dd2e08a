//! The process itself, by the names that Prometheus' client libraries use.

use std::fs;

use metrics::{Unit, describe_gauge, gauge};

const RESIDENT: &str = "process_resident_memory_bytes";
const OPEN_FDS: &str = "process_open_fds";
const MAX_FDS: &str = "process_max_fds";
const THREADS: &str = "process_threads";

pub fn describe() {
    describe_gauge!(RESIDENT, Unit::Bytes, "Resident memory of the process");
    describe_gauge!(OPEN_FDS, "Open file descriptors");
    describe_gauge!(
        MAX_FDS,
        "File descriptors that the process may have open at most"
    );
    describe_gauge!(THREADS, "Threads of the process");
}

/// Looks everything up in `/proc/self`; what is not there is left out.
#[allow(clippy::cast_precision_loss)] // a gauge is a float, whatever it counts
pub fn collect() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = number(&status, "VmRSS:") {
        gauge!(RESIDENT).set((kib * 1024) as f64);
    }
    if let Some(threads) = number(&status, "Threads:") {
        gauge!(THREADS).set(threads as f64);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        gauge!(OPEN_FDS).set(entries.count() as f64);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(limit) = limit.current {
        gauge!(MAX_FDS).set(limit as f64);
    }
}

/// The number behind `name` in a file such as `/proc/self/status` (proc(5)).
fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read() {
        let status = "Name:\tabbild\nVmRSS:\t   12345 kB\nThreads:\t7\n";
        assert_eq!(number(status, "VmRSS:"), Some(12345));
        assert_eq!(number(status, "Threads:"), Some(7));
        assert_eq!(number(status, "VmSwap:"), None);
    }
}

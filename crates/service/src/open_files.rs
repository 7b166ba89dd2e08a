//! How many files the process may have open.
//!
//! Every upload takes a connection and a file. The soft limit that processes begin with on Linux is
//! 1024, for the sake of programs that use `select`, which this is none of; the hard limit is what
//! the operator means.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. What is refused stays as it is, and is logged.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::debug!(
            from = current,
            to = maximum,
            "raised the limit of open files"
        ),
        Err(error) => tracing::warn!(%error, limit = current, "the limit of open files stays"),
    }
}

//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file; both count from one, columns in characters.
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// An option of the command line.
    Argument(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) | Self::Argument(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where; `None` if it is about settings that nobody made.
    pub origin: Option<Origin>,
    /// What, and what to do.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that was found wrong, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

/// A setting whose value has the right type and is wrong all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The setting, as `vm.first_address` or `regions.0.slug`.
    pub key: String,
    /// What, and what to do.
    pub message: String,
}

/// Collects what [`Config::issues`](super::Config::issues) finds.
#[derive(Debug, Default)]
pub struct Issues(pub Vec<Issue>);

impl Issues {
    /// Notes that the setting `key` is wrong unless `ok`.
    pub fn require(&mut self, ok: bool, key: impl Into<String>, message: impl FnOnce() -> String) {
        if !ok {
            self.0.push(Issue {
                key: key.into(),
                message: message(),
            });
        }
    }
}

//! Progress on standard error: a bar on a terminal, a line per step elsewhere.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

/// A sequence of steps, each perhaps with a known number of bytes.
#[derive(Debug)]
pub struct Steps {
    bar: Option<ProgressBar>,
    current: Option<String>,
}

impl Steps {
    /// Nothing is shown until the first step.
    pub fn new() -> Self {
        Self {
            bar: io::stderr().is_terminal().then(ProgressBar::no_length),
            current: None,
        }
    }

    /// Goes on to the step `label`; does nothing if that is the current one.
    pub fn step(&mut self, label: &str) {
        if self.current.as_deref() == Some(label) {
            return;
        }
        self.current = Some(label.to_owned());
        match &self.bar {
            Some(bar) => {
                // First of all, because everything below draws.
                bar.set_style(spinner());
                bar.reset();
                bar.unset_length();
                bar.set_message(label.to_owned());
                bar.tick();
            }
            None => eprintln!("{label}"),
        }
    }

    /// The current step has `total` bytes, of which `done` were dealt with before now; rate and
    /// ETA do not count those.
    pub fn begin(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_style(bytes());
            bar.set_length(total);
            bar.set_position(done);
            bar.reset_eta();
        }
    }

    /// `done` bytes are dealt with.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// `done` of `total` bytes are dealt with, where 0 means that the total is not known.
    pub fn set_of(&self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if total == 0 {
            bar.set_style(counter());
            bar.set_position(done);
            bar.tick();
        } else if bar.length() == Some(total) {
            bar.set_position(done);
        } else {
            self.begin(done, total);
        }
    }

    /// Shows that something is still awaited.
    pub fn tick(&self) {
        if let Some(bar) = &self.bar {
            bar.tick();
        }
    }

    /// Prints a line that stays.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.finish();
    }
}

const BYTES: &str =
    "{msg:<11} {wide_bar} {percent:>3}% {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta}";
const COUNTER: &str = "{spinner} {msg} {bytes} {binary_bytes_per_sec} {elapsed}";
const SPINNER: &str = "{spinner} {msg} {elapsed}";

fn bytes() -> ProgressStyle {
    ProgressStyle::with_template(BYTES).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn counter() -> ProgressStyle {
    ProgressStyle::with_template(COUNTER).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template(SPINNER).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [BYTES, COUNTER, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

//! What is looked after every second or two may fail every second or two, for days. The log says so when
//! it begins, and when it is over.

use std::collections::HashMap;
use std::fmt::Display;

/// What fails now, as the log has it.
#[derive(Debug, Default)]
pub struct Complaints(HashMap<(&'static str, String), String>);

impl Complaints {
    /// Logs what has changed since the last attempt at `what` in a region; `what` is in the words of
    /// "… failed".
    pub fn hear<E: Display>(
        &mut self,
        what: &'static str,
        region: Option<&str>,
        outcome: Result<(), E>,
    ) {
        let subject = (what, region.unwrap_or_default().to_owned());
        match outcome {
            Ok(()) => {
                if self.0.remove(&subject).is_some() {
                    tracing::info!(region, "{what} works again");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                let before = self.0.insert(subject, error.clone());
                if before.as_ref() != Some(&error) {
                    tracing::error!(region, error, "{what} failed");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_now_is_remembered() {
        let mut complaints = Complaints::default();
        complaints.hear("looking", Some("hal1"), Err("no bridge"));
        complaints.hear("looking", Some("nbg1"), Err("no bridge"));
        complaints.hear("looking", Some("hal1"), Err("no room"));
        complaints.hear("looking", Some("nbg1"), Ok::<(), String>(()));
        let left: Vec<_> = complaints.0.values().collect();
        assert_eq!(left, ["no room"]);
    }
}

//! When tokens and sessions were last used: written down at most once a minute for each, and beside
//! the request, so that reading does not wait for the database's one writer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Proof;
use crate::Service;
use crate::db::{self, session, token};

const EVERY: Duration = Duration::from_secs(60);
/// Beyond so many, those that are older than [`EVERY`] are forgotten.
const MANY: usize = 1024;

/// A token or a session, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Used {
    Token(i64),
    Session(i64),
}

/// What was written down within the last minute.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<Used, Instant>>);

impl Recent {
    /// Writes down that `proof` was used now, unless that was done a moment ago.
    pub fn touch(&self, service: &Arc<Service>, proof: &Proof) {
        let used = match proof {
            Proof::Token(row) => Used::Token(row.id),
            Proof::Session(row) => Used::Session(row.id),
        };
        if !self.is_due(used, Instant::now()) {
            return;
        }
        let service = service.clone();
        tokio::spawn(async move {
            if let Err(error) = write(&service, used).await {
                tracing::warn!(%error, "when a token was used could not be written down");
            }
        });
    }

    fn is_due(&self, used: Used, now: Instant) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.duration_since(*at) < EVERY;
        if recent.get(&used).is_some_and(is_recent) {
            return false;
        }
        if recent.len() >= MANY {
            recent.retain(|_, at| is_recent(at));
        }
        recent.insert(used, now);
        true
    }
}

async fn write(service: &Service, used: Used) -> db::Result<()> {
    let mut tx = service.db.write().await?;
    match used {
        Used::Token(id) => token::touch(&mut tx, id).await?,
        Used::Session(id) => session::touch(&mut tx, id).await?,
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_due_once_a_minute() {
        let recent = Recent::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(recent.is_due(Used::Token(1), at(0)));
        assert!(!recent.is_due(Used::Token(1), at(59)));
        assert!(recent.is_due(Used::Session(1), at(59)));
        assert!(recent.is_due(Used::Token(1), at(60)));
        for id in 2..2000 {
            assert!(recent.is_due(Used::Token(id), at(200)));
        }
        assert!(recent.is_due(Used::Token(1), at(300)));
        assert_eq!(recent.0.lock().unwrap().len(), 1);
    }
}

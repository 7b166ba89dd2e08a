//! Counting bytes that are on disk: one transaction for everything that many uploads have to
//! record at the same time.
//!
//! A commit waits for the disk. Whoever comes while one is under way would wait for it, and then
//! for its own; instead, all that came in the meantime is recorded by the next commit together, as
//! databases themselves do ("group commit"). The first to get the lead does the work of all.

use std::sync::{Mutex, PoisonError};

use abbild_api::Stage;
use tokio::sync::oneshot;

use crate::Service;
use crate::db::{self, Db, image, upload};

/// What is to be recorded.
#[derive(Debug, Default)]
pub struct Ledger {
    waiting: Mutex<Vec<Waiting>>,
    lead: tokio::sync::Mutex<()>,
}

/// One upload's progress.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The upload.
    pub id: String,
    /// Bytes that were counted before. If the row says otherwise, another writer has the upload.
    pub before: i64,
    /// Bytes that are synced.
    pub received: i64,
    /// The length, if it became known now.
    pub length: Option<i64>,
    /// Whether that is all of it.
    pub complete: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Counted.
    Counted,
    /// Counted, and an image's import can begin.
    Ready,
    /// The upload is gone, failed, or another's.
    Gone,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    answer: oneshot::Sender<Result<Recorded, String>>,
}

impl Ledger {
    /// Records `entry` and returns when that is on disk.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record(&self, service: &Service, entry: Entry) -> anyhow::Result<Recorded> {
        let (answer, answered) = oneshot::channel();
        self.waiting().push(Waiting { entry, answer });
        let lead = self.lead.lock().await;
        let together = std::mem::take(&mut *self.waiting());
        if !together.is_empty() {
            let entries: Vec<Entry> = together.iter().map(|w| w.entry.clone()).collect();
            let outcome = commit(&service.db, &entries).await;
            if let Ok(recorded) = &outcome
                && recorded.contains(&Recorded::Ready)
            {
                service.announce("image");
            }
            for (index, waiting) in together.into_iter().enumerate() {
                let own = match &outcome {
                    Ok(recorded) => Ok(recorded[index]),
                    Err(error) => Err(error.to_string()),
                };
                // Whoever does not wait any longer does not need to know.
                let _ = waiting.answer.send(own);
            }
        }
        drop(lead);
        answered.await?.map_err(anyhow::Error::msg)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn commit(db: &Db, entries: &[Entry]) -> db::Result<Vec<Recorded>> {
    let mut tx = db.write().await?;
    let mut recorded = Vec::with_capacity(entries.len());
    for entry in entries {
        recorded.push(record(&mut tx, entry).await?);
    }
    tx.commit().await?;
    Ok(recorded)
}

/// With the last byte the import may begin, in the same transaction.
async fn record(tx: &mut db::Tx, entry: &Entry) -> db::Result<Recorded> {
    if let Some(length) = entry.length
        && !upload::set_length(tx, &entry.id, length).await?
    {
        return Ok(Recorded::Gone);
    }
    if !upload::advance(tx, &entry.id, entry.before, entry.received).await? {
        return Ok(Recorded::Gone);
    }
    if entry.complete
        && let Some(image) = image::by_upload(tx, &entry.id).await?
        && image.stage()? == Stage::Receiving
    {
        image::set_stage(tx, image.id, Stage::Queued).await?;
        db::action::make_ready(tx, image.id, "create").await?;
        return Ok(Recorded::Ready);
    }
    Ok(Recorded::Counted)
}

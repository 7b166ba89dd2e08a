//! Which failures of a job are final, and when the others are tried again.
//!
//! An image that is damaged or not what it should be fails at once, with the reason: it will be the
//! same the next time. Those failures are marked, as [`Final`]. Whatever else goes wrong on the way,
//! a full disk, a store that cannot be reached, a database that is away, is the service's own fault
//! and says nothing about the image; so its upload is kept, and the job is tried again after a pause
//! that becomes longer each time. Only when that has not helped often enough does it fail.
//!
//! Jobs of machines, and probes, are not tried again by themselves: whoever asked for a machine waits for
//! an answer. But a machine that was deleted has nobody left who would ask again, so its removal is tried
//! for ever. Fetches have a patience of their own ([`crate::fetch`]).

use std::time::Duration;

use abbild_api::{RegionCopyStatus, Stage};
use abbild_convert::ErrorKind;

use crate::Service;
use crate::db::action::ActionRow;
use crate::db::{self, image};

/// Before the second attempt; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A failure that another attempt would not mend; the text is for the owner of the image.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Final(String);

impl Final {
    /// With its reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What it means for a job that its bytes could not be decoded, encoded or copied: the whole chain
/// in one sentence, and the hint, which is no part of the error's own sentence.
pub fn of_convert(error: abbild_convert::Error) -> anyhow::Error {
    let own_fault = matches!(error.kind(), ErrorKind::Io | ErrorKind::Cancelled);
    let hint = error
        .hint()
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    let reason = format!("{:#}{hint}", anyhow::Error::new(error));
    match own_fault {
        true => anyhow::Error::msg(reason),
        false => Final(reason).into(),
    }
}

/// Gives a job back that failed for `error`, to be tried again later. Returns false if it is to fail
/// for good.
///
/// # Errors
/// Those of the database.
pub async fn postpone(
    service: &Service,
    action: &ActionRow,
    error: &anyhow::Error,
) -> db::Result<bool> {
    let is_of_image =
        action.resource_type == "image" && action.kind != "probe" && !action.is_fetch();
    let retries = i64::from(service.config.limits.job_retries);
    let is_worth_it = is_of_image && !error.is::<Final>() && action.failures < retries;
    if !is_worth_it && !is_tried_for_ever(action) {
        return Ok(false);
    }
    let reason = format!("{error:#}");
    let mut tx = service.db.write().await?;
    if !db::action::is_held(&mut tx, action.id, &service.instance).await? {
        // Called off, or taken over: it is somebody else's to say what becomes of it.
        return Ok(true);
    }
    let pause = pause(action.failures);
    db::action::postpone(&mut tx, action.id, pause.as_secs(), &reason).await?;
    let id = action.resource_id;
    match (action.kind.as_str(), action.region.as_deref()) {
        ("transfer", Some(region)) => {
            let pending = RegionCopyStatus::Pending;
            image::move_region(&mut tx, id, region, pending, Some(&reason)).await?;
        }
        _ if is_of_image => {
            image::set_stage(&mut tx, id, Stage::Queued).await?;
        }
        _ => {}
    }
    tx.commit().await?;
    tracing::warn!(
        reason,
        pause_seconds = pause.as_secs(),
        "job failed by a fault of the service and is tried again"
    );
    Ok(true)
}

/// Whether nothing else would ever do what this job does.
pub fn is_tried_for_ever(action: &ActionRow) -> bool {
    action.resource_type == "droplet" && action.kind == "destroy"
}

/// After a job failed `failures` times before.
fn pause(failures: i64) -> Duration {
    let doublings = u32::try_from(failures).unwrap_or(u32::MAX).min(16);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let seconds: Vec<_> = (0..12).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(pause(i64::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn a_final_failure_is_known_below_any_context() {
        let error = anyhow::Error::from(Final::new("no image"));
        assert!(error.is::<Final>());
        let error = Err::<(), _>(error).context("unpacking").unwrap_err();
        assert!(error.is::<Final>());
        assert_eq!(format!("{error:#}"), "unpacking: no image");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!anyhow::Error::from(full).is::<Final>());
    }
}

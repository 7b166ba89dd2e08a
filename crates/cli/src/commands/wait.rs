//! Waiting for the service: asked again and again, less often as time goes by, so that a long wait
//! stays within the service's rate limits; through restarts of the service.

use std::time::{Duration, Instant};

use abbild_api::{Action, ActionOne, ActionStatus};
use serde::de::DeserializeOwned;

use crate::client::{self, Client};
use crate::failure::{Failure, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::print::clean;
use crate::progress::Steps;

/// How long the service may be away.
const PATIENCE: Duration = Duration::from_secs(300);

/// Gets `path` again and again until `done`, which may show progress, says so; `None` on Ctrl-C.
///
/// # Errors
/// Of the request, if they do not pass.
pub fn until<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    interrupt: &Interrupt,
    mut done: impl FnMut(&T) -> bool,
) -> client::Result<Option<T>> {
    let begin = Instant::now();
    let mut answered = begin;
    loop {
        let mut pause = interval(begin.elapsed());
        if interrupt.is_set() {
            return Ok(None);
        }
        match client.get::<T>(path) {
            Ok(answer) if done(&answer) => return Ok(Some(answer)),
            Ok(_) => answered = Instant::now(),
            Err(error) if error.is_transient() && answered.elapsed() < PATIENCE => {
                pause = pause.max(error.retry_after().unwrap_or_default());
            }
            Err(error) => return Err(error),
        }
        interrupt.sleep(pause);
    }
}

/// How long to leave the service alone after having waited for `elapsed`.
fn interval(elapsed: Duration) -> Duration {
    Duration::from_millis(match elapsed.as_secs() {
        0..15 => 300,
        15..60 => 1000,
        _ => 2000,
    })
}

/// Waits for the end of `action`; `None` on Ctrl-C.
///
/// # Errors
/// Of the request, if they do not pass.
pub fn action(
    client: &Client,
    action: Action,
    steps: &mut Steps,
    interrupt: &Interrupt,
) -> client::Result<Option<Action>> {
    if action.status != ActionStatus::InProgress {
        return Ok(Some(action));
    }
    let path = format!("/v2/actions/{}", action.id);
    let ended = until::<ActionOne>(client, &path, interrupt, |answer| {
        match answer
            .action
            .extra
            .as_ref()
            .and_then(|extra| extra.progress)
        {
            Some(progress) => steps.set_of(progress.done, progress.total),
            None => steps.tick(),
        }
        answer.action.status != ActionStatus::InProgress
    })?;
    Ok(ended.map(|answer| answer.action))
}

/// Waits for the end of `action`, showing `label`, and gives it back once it is completed.
///
/// # Errors
/// If it fails, which is told as `failed` with the reason; on Ctrl-C, with `hint`; and of the request.
pub fn to_end(
    client: &Client,
    begun: Action,
    label: &str,
    failed: &str,
    hint: &str,
) -> anyhow::Result<Action> {
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    steps.step(label);
    let ended = action(client, begun, &mut steps, &interrupt)?;
    completed(ended, failed, hint)
}

/// The action, once it is completed; `None` is one that was no longer waited for.
///
/// # Errors
/// As [`to_end`] has them.
pub fn completed(ended: Option<Action>, failed: &str, hint: &str) -> anyhow::Result<Action> {
    let ended = ended.ok_or_else(|| {
        Failure::new("stopped waiting")
            .hint(hint.to_owned())
            .code(INTERRUPTED)
    })?;
    if ended.status == ActionStatus::Errored {
        let reason = ended.extra.and_then(|extra| extra.reason);
        let reason = reason.as_deref().unwrap_or("the service gave no reason");
        return Err(Failure::new(format!("{failed}: {}", clean(reason))).into());
    }
    Ok(ended)
}

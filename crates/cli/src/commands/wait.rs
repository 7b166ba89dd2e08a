//! Waiting for the service: asked again every 300 ms, through restarts of the service.

use std::time::{Duration, Instant};

use abbild_api::{Action, ActionOne, ActionStatus};
use serde::de::DeserializeOwned;

use crate::client::{self, Client};
use crate::interrupt::Interrupt;
use crate::progress::Steps;

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(300);
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
    let mut answered = Instant::now();
    loop {
        if interrupt.is_set() {
            return Ok(None);
        }
        match client.get::<T>(path) {
            Ok(answer) if done(&answer) => return Ok(Some(answer)),
            Ok(_) => answered = Instant::now(),
            Err(error) if error.is_transient() && answered.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        interrupt.sleep(INTERVAL);
    }
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

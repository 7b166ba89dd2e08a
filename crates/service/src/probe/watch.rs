//! Watching a machine boot, until there is nothing more to see.
//!
//! Three things are looked at again and again: what the serial line printed since the last look, whether
//! the machine still runs, and, beside that, whether an SSH server answers. The end comes
//! when all is seen, when the boot has stopped, or with the time limit. Some of what could be seen never
//! comes: a guest need not print anything, and an image may have no SSH server. So when only that is
//! missing, it gets half as long again as the rest took ([`Patience`]).

use std::time::Duration;

use abbild_guest::{End, Evidence, Milestone, Step};
use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::machine::{Expected, Machine};
use super::signs::Follower;
use super::{Record, sshd};
use crate::Service;
use crate::db::action::ActionRow;
use crate::db::{self, to_json};
use crate::jobs::JobContext;
use crate::vm::qemu::POWERED_OFF;
use crate::vm::{Hypervisor, VmStatus};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Between two questions for the SSH server.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of the serial log that are read at once.
const CHUNK: u64 = 256 << 10;
/// Bytes of the serial log that are looked at; a guest that prints more says nothing new.
const MAX_FOLLOWED: u64 = 64 << 20;
/// Between trouble and the picture of it: what belongs to it is still being printed.
const SETTLE: Duration = Duration::from_secs(2);
/// The least that what may never come is waited for.
const MIN_PATIENCE: Duration = Duration::from_secs(30);

impl Machine<'_> {
    /// Follows the boot to its end, and keeps what is seen in the record and in the database.
    pub async fn watch(
        &mut self,
        service: &Service,
        action: &ActionRow,
        job: &JobContext,
        follower: &mut Follower,
    ) -> anyhow::Result<()> {
        let limit = Duration::from_secs(self.record.time_limit_seconds.into());
        let answer = server(self.port, self.started);
        let mut answer = std::pin::pin!(answer);
        let started = self.started;
        let look = |follower: &mut Follower, bytes: &[u8]| follower.feed(bytes, started.elapsed());
        let mut answered = false;
        let mut known = 0;
        let end = loop {
            job.check()?;
            // Asked before the log is read, so that the last words are read as well.
            let status = self.driver.status(self.id).await?;
            self.read_log(follower, look).await?;
            if follower.milestones().len() != known {
                known = follower.milestones().len();
                self.note(service, action, job, follower.milestones())
                    .await?;
            }
            match self.judge(&status, follower, limit)? {
                Some(End::Trouble) => {
                    sleep(SETTLE).await;
                    self.read_log(follower, look).await?;
                    break End::Trouble;
                }
                Some(end) => break end,
                None => {}
            }
            tokio::select! {
                (evidence, time) = &mut answer, if !answered => {
                    answered = true;
                    follower.add(Step::Sshd, evidence, time);
                }
                () = sleep(PAUSE) => {}
            }
        };
        let boot = &mut self.record.boot;
        boot.end = Some(end);
        boot.milliseconds = milliseconds(self.started.elapsed());
        boot.milestones = follower.milestones().to_vec();
        Ok(())
    }

    /// Why there is nothing more to watch, if so.
    fn judge(
        &self,
        status: &VmStatus,
        follower: &Follower,
        limit: Duration,
    ) -> anyhow::Result<Option<End>> {
        let time = self.started.elapsed();
        let seen = follower.milestones();
        if seen.iter().any(|milestone| milestone.step.is_trouble()) {
            return Ok(Some(End::Trouble));
        }
        match status {
            VmStatus::Running => {}
            VmStatus::Stopped { reason } if reason.as_deref() == Some(POWERED_OFF) => {
                return Ok(Some(End::PoweredOff));
            }
            VmStatus::Stopped { reason } => {
                let reason = reason.as_deref().unwrap_or("it was stopped");
                bail!("the machine ended before the probe did: {reason}");
            }
            VmStatus::Interrupted | VmStatus::Absent => {
                bail!("the machine ended before the probe did");
            }
        }
        if Patience::of(seen, self.expected).is_over(time) {
            return Ok(Some(End::Complete));
        }
        Ok((time >= limit).then_some(End::TimeLimit))
    }

    /// Gives the follower what was printed since the last time.
    pub(super) async fn read_log(
        &self,
        follower: &mut Follower,
        take: impl Fn(&mut Follower, &[u8]),
    ) -> anyhow::Result<()> {
        while follower.taken() < MAX_FOLLOWED {
            let bytes = self
                .driver
                .console_log_from(self.id, follower.taken(), CHUNK)
                .await?;
            take(follower, &bytes);
            if (bytes.len() as u64) < CHUNK {
                break;
            }
        }
        Ok(())
    }

    /// Lets everybody see how far the boot is.
    async fn note(
        &self,
        service: &Service,
        action: &ActionRow,
        job: &JobContext,
        milestones: &[Milestone],
    ) -> anyhow::Result<()> {
        job.progress(abbild_convert::Progress {
            done: milestones.len() as u64,
            total: Some(Step::GOOD.len() as u64),
        });
        let mut record = Record::clone(&self.record);
        record.boot.milestones = milestones.to_vec();
        record.boot.milliseconds = milliseconds(self.started.elapsed());
        let mut tx = service.write_for(action).await?;
        db::probe::note(&mut tx, action.id, &to_json(&record)).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for the SSH server.
async fn server(port: u16, started: Instant) -> (Evidence, Duration) {
    loop {
        if let Some(evidence) = sshd::answer(port).await {
            return (evidence, started.elapsed());
        }
        sleep(ASK_AGAIN).await;
    }
}

/// How long what has not been seen is still waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Everything was seen.
    Over,
    /// Something is missing that may never come: until then, in time since power-on.
    Until(Duration),
    /// Something is missing that should come.
    Limit,
}

impl Patience {
    fn of(milestones: &[Milestone], expected: Expected) -> Self {
        let at = |step| {
            let milestone = milestones.iter().find(|milestone| milestone.step == step);
            milestone.map(|milestone| Duration::from_millis(milestone.milliseconds))
        };
        // Half as long again.
        let more = |time: Duration| Self::Until(time + (time / 2).max(MIN_PATIENCE));
        let finished = at(Step::CloudInitFinished);
        match (at(Step::Sshd), finished, at(Step::CloudInit)) {
            (Some(_), Some(_), _) => Self::Over,
            // It printed nothing of cloud-init, so that its end will not be seen either.
            (Some(sshd), None, None) => more(sshd),
            (None, Some(finished), _) if !expected.sshd => more(finished),
            (None, None, None) if !expected.sshd => at(Step::Login).map_or(Self::Limit, more),
            _ => Self::Limit,
        }
    }

    fn is_over(self, time: Duration) -> bool {
        match self {
            Self::Over => true,
            Self::Until(end) => time >= end,
            Self::Limit => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(steps: &[(Step, u64)], sshd: bool) -> Patience {
        let milestones: Vec<_> = steps
            .iter()
            .map(|(step, seconds)| Milestone {
                step: *step,
                milliseconds: seconds * 1000,
                evidence: Evidence::default(),
            })
            .collect();
        Patience::of(&milestones, Expected { sshd })
    }

    #[test]
    fn what_should_come_is_waited_for_and_what_may_not_come_for_a_while() {
        use Step::{CloudInit, CloudInitFinished, Init, Login, Sshd};
        let until = |seconds| Patience::Until(Duration::from_secs(seconds));
        for (steps, sshd, expected) in [
            (&[][..], true, Patience::Limit),
            (&[(Init, 9), (CloudInit, 30)], true, Patience::Limit),
            (&[(CloudInit, 30), (Sshd, 60)], true, Patience::Limit),
            (
                &[(CloudInit, 30), (Sshd, 60), (CloudInitFinished, 90)],
                true,
                Patience::Over,
            ),
            // Nothing is printed.
            (&[(Sshd, 100)], true, until(150)),
            (&[(Sshd, 10)], true, until(40)),
            // Without an SSH server.
            (
                &[(CloudInit, 30), (CloudInitFinished, 100)],
                false,
                until(150),
            ),
            (
                &[(CloudInit, 30), (CloudInitFinished, 100)],
                true,
                Patience::Limit,
            ),
            (&[(CloudInit, 30), (Login, 40)], false, Patience::Limit),
            (&[(Login, 40)], false, until(70)),
            // It is there after all.
            (
                &[(Sshd, 60), (CloudInitFinished, 90)],
                false,
                Patience::Over,
            ),
        ] {
            assert_eq!(patience(steps, sshd), expected, "{steps:?} {sshd}");
        }
        let end = until(40);
        assert!(!end.is_over(Duration::from_secs(39)));
        assert!(end.is_over(Duration::from_secs(40)));
    }
}

//! Stopping in order: who must know that the service is being stopped, and when.
//!
//! ```text
//!   serving ──▶ leaving ──▶ draining
//! ```
//!
//! *Leaving*, the service works as always and only says at `/readyz` that it will stop, so that a
//! load balancer looks elsewhere. *Draining*, it takes no new connections and no new jobs, what
//! can stop soon does, and what was begun is made safe: uploads count what they have, jobs give
//! their leases back, consoles and event streams are closed.

use tokio::sync::watch;

/// How far the stop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nobody asked.
    Serving,
    /// A load balancer should look elsewhere.
    Leaving,
    /// The process is about to end.
    Draining,
}

/// The phase, for everybody to look at and to wait for.
#[derive(Debug)]
pub struct Drain(watch::Sender<Phase>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Drain {
    /// Enters a phase; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = (*now).max(phase);
            later
        });
    }

    /// How far the stop is.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.phase() == Phase::Draining
    }

    /// Ends when the process is about to.
    pub async fn draining(&self) {
        self.session().draining().await;
    }

    /// For what outlives its request, such as a console: the process waits until it is dropped.
    pub fn session(&self) -> Session {
        Session(self.0.subscribe())
    }

    /// Ends when there is no session any more.
    pub async fn ended(&self) {
        self.0.closed().await;
    }
}

/// Something that must be ended in order before the process may.
#[derive(Debug)]
pub struct Session(watch::Receiver<Phase>);

impl Session {
    /// Ends when the process is about to.
    pub async fn draining(&mut self) {
        // It fails only if the sender is gone, and with it the service.
        let _ = self.0.wait_for(|phase| *phase == Phase::Draining).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_go_forward_and_can_be_waited_for() {
        let drain = Drain::default();
        assert_eq!(drain.phase(), Phase::Serving);
        drain.enter(Phase::Draining);
        drain.enter(Phase::Leaving);
        assert!(drain.is_draining());
        drain.draining().await;
    }

    #[tokio::test]
    async fn sessions_are_waited_for() {
        let drain = std::sync::Arc::new(Drain::default());
        let mut session = drain.session();
        let ended = tokio::spawn({
            let drain = drain.clone();
            async move { drain.ended().await }
        });
        drain.enter(Phase::Draining);
        session.draining().await;
        assert!(!ended.is_finished());
        drop(session);
        ended.await.unwrap();
    }
}

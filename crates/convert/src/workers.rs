//! Threads that take jobs from one queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs that wait for a thread.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    jobs: VecDeque<J>,
    closed: bool,
}

impl<J> Queue<J> {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a job that is begun after those already there.
    pub(crate) fn push(&self, job: J) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Adds a job that is begun next.
    pub(crate) fn push_first(&self, job: J) {
        self.lock().jobs.push_front(job);
        self.changed.notify_one();
    }

    /// The next job, when there is one; `None` once the queue is closed.
    fn next(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // No statement leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The results of jobs, in the order in which they are finished.
pub(crate) struct Results<R>(Receiver<thread::Result<R>>);

impl<R> Results<R> {
    /// Waits for the next result. There must be a job under way.
    pub(crate) fn wait(&self) -> R {
        match self.0.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // The threads end only when the queue is closed, which is after the last wait.
            Err(_) => unreachable!("the threads are gone"),
        }
    }
}

/// Runs `drive` here, and on `threads` others `work` for each job that it queues. Jobs that have
/// not begun when `drive` returns are dropped.
pub(crate) fn with_workers<J: Send, R: Send, T>(
    threads: usize,
    work: impl Fn(J) -> R + Sync,
    drive: impl FnOnce(&Queue<J>, &Results<R>) -> T,
) -> T {
    /// Closes the queue also when `drive` panics, since the scope waits for the threads.
    struct Close<'q, J>(&'q Queue<J>);
    impl<J> Drop for Close<'_, J> {
        fn drop(&mut self) {
            self.0.close();
        }
    }

    let queue = Queue::new();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (queue, work, sender) = (&queue, &work, sender.clone());
            scope.spawn(move || {
                while let Some(job) = queue.next() {
                    let result = catch_unwind(AssertUnwindSafe(|| work(job)));
                    // Nobody listens any more after an error.
                    let _ = sender.send(result);
                }
            });
        }
        let _close = Close(&queue);
        drive(&queue, &Results(receiver))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        let sum = with_workers(
            3,
            |n: u64| n * n,
            |queue, results| {
                (0..100).for_each(|n| queue.push(n));
                (0..100).map(|_| results.wait()).sum::<u64>()
            },
        );
        assert_eq!(sum, 328_350);
    }

    #[test]
    #[should_panic(expected = "seven")]
    fn a_panic_of_a_job_is_passed_on() {
        with_workers(
            2,
            |n: u64| assert!(n != 7, "seven"),
            |queue, results| {
                (0..10).for_each(|n| queue.push(n));
                (0..10).for_each(|_| results.wait());
            },
        );
    }
}

//! Work on several threads whose results are taken in order, with a bounded number under way.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use super::worker::{Batch, Worker};
use crate::Result;

/// Batches under way per thread. A batch has about a megabyte, so 16 threads stay below 64 MiB of
/// results.
const BATCHES_PER_THREAD: usize = 3;

/// A batch and its place in the sequence.
type Numbered<T> = (u64, T);

/// Takes offsets from `next` until it returns none, runs `work` on each on one of `threads`
/// threads, and gives the results to `take` in the order of the offsets. `next` and `take` run on
/// the calling thread; `take` returns the batch so that its memory is used again.
///
/// # Errors
/// The first error of any of the three; the rest of the work is then given up.
pub(super) fn in_order(
    threads: usize,
    mut next: impl FnMut() -> Result<Option<u64>>,
    work: impl Fn(&mut Worker, Batch) -> Result<Batch> + Sync,
    mut take: impl FnMut(Batch) -> Result<Batch>,
) -> Result<()> {
    let (jobs, queue) = mpsc::channel::<Numbered<Batch>>();
    let queue = Mutex::new(queue);
    let (results, finished) = mpsc::channel::<Numbered<Result<Batch>>>();
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                let (queue, work, results) = (&queue, &work, results.clone());
                scope.spawn(move || serve(queue, work, &results))
            })
            .collect();
        // Only the workers hold it now, so its end shows that all of them are gone.
        drop(results);
        let outcome = drive(threads, &mut next, &jobs, &finished, &mut take);
        drop(jobs);
        join(handles);
        outcome
    })
}

/// The calling thread's part.
fn drive(
    threads: usize,
    next: &mut impl FnMut() -> Result<Option<u64>>,
    jobs: &Sender<Numbered<Batch>>,
    finished: &Receiver<Numbered<Result<Batch>>>,
    take: &mut impl FnMut(Batch) -> Result<Batch>,
) -> Result<()> {
    let mut spare: Vec<Batch> = Vec::new();
    // Results that wait for an earlier one; the front is number `taken`.
    let mut waiting: VecDeque<Option<Batch>> = VecDeque::new();
    let (mut sent, mut taken) = (0, 0);
    let mut more = true;
    loop {
        while more && waiting.len() < threads * BATCHES_PER_THREAD {
            let Some(offset) = next()? else {
                more = false;
                break;
            };
            let mut batch = spare.pop().unwrap_or_default();
            batch.offset = offset;
            if jobs.send((sent, batch)).is_err() {
                return Ok(());
            }
            waiting.push_back(None);
            sent += 1;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        // Fails only if every worker panicked, which joining them reports.
        let Ok((number, result)) = finished.recv() else {
            return Ok(());
        };
        if let Some(place) = waiting.get_mut((number - taken) as usize) {
            *place = Some(result?);
        }
        while let Some(Some(batch)) = waiting.pop_front_if(|front| front.is_some()) {
            taken += 1;
            spare.push(take(batch)?);
        }
    }
}

/// A worker thread's part.
fn serve(
    queue: &Mutex<Receiver<Numbered<Batch>>>,
    work: &impl Fn(&mut Worker, Batch) -> Result<Batch>,
    results: &Sender<Numbered<Result<Batch>>>,
) {
    let mut worker = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, batch)) = job else { return };
        // A panic must not leave the caller waiting for this batch, so the queue is closed too.
        let run = AssertUnwindSafe(|| {
            let worker = match &mut worker {
                Some(worker) => worker,
                None => worker.insert(Worker::new()?),
            };
            work(worker, batch)
        });
        let result = match panic::catch_unwind(run) {
            Ok(result) => result,
            Err(panic) => {
                let _ = results.send((number, Err(crate::Error::cancelled())));
                panic::resume_unwind(panic);
            }
        };
        if results.send((number, result)).is_err() {
            return;
        }
    }
}

fn join(handles: Vec<ScopedJoinHandle<'_, ()>>) {
    for handle in handles {
        if let Err(panic) = handle.join() {
            panic::resume_unwind(panic);
        }
    }
}

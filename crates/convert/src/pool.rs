//! Work on several threads whose results are taken in order, with a bounded number under way.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use crate::Result;

/// Batches under way per thread. A batch has about a megabyte, so 16 threads stay below 64 MiB of
/// results.
const BATCHES_PER_THREAD: usize = 3;

/// More threads than this would need more memory than an import may use.
const MAX_THREADS: usize = 16;

/// A batch and its place in the sequence.
type Numbered<B> = (u64, B);

/// What happens to each batch, a buffer `B` that goes round and round.
pub(crate) trait Line<B>: Sync {
    /// What a worker thread keeps from one batch to the next.
    type Worker;

    /// Makes what a worker thread needs; called on that thread, once.
    fn worker(&self) -> Result<Self::Worker>;

    /// Processes one batch, on any thread.
    fn work(&self, worker: &mut Self::Worker, batch: &mut B) -> Result<()>;
}

/// The number of threads for a wish, where 0 is one per processor; at most [`MAX_THREADS`].
fn threads_for(wish: usize) -> usize {
    let threads = match wish {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    threads.min(MAX_THREADS)
}

/// Lets `fill` fill batches until it says that there are no more, runs `line` on each on one of
/// `threads` threads (0 for one per processor), and gives the results to `take` in the order in
/// which they were filled. `fill` and `take` run on the calling thread.
///
/// # Errors
/// The first error of any of the three; the rest of the work is then given up.
pub(crate) fn in_order<B: Default + Send>(
    threads: usize,
    mut fill: impl FnMut(&mut B) -> Result<bool>,
    line: &impl Line<B>,
    mut take: impl FnMut(&B) -> Result<()>,
) -> Result<()> {
    let threads = threads_for(threads);
    let (jobs, queue) = mpsc::channel::<Numbered<B>>();
    let queue = Mutex::new(queue);
    let (results, finished) = mpsc::channel::<Numbered<Result<B>>>();
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                let (queue, results) = (&queue, results.clone());
                scope.spawn(move || serve(queue, line, &results))
            })
            .collect();
        // Only the workers hold it now, so its end shows that all of them are gone.
        drop(results);
        let most = threads * BATCHES_PER_THREAD;
        let outcome = drive(most, &mut fill, &jobs, &finished, &mut take);
        drop(jobs);
        join(handles);
        outcome
    })
}

/// The calling thread's part, with at most `most` batches under way.
fn drive<B: Default>(
    most: usize,
    fill: &mut impl FnMut(&mut B) -> Result<bool>,
    jobs: &Sender<Numbered<B>>,
    finished: &Receiver<Numbered<Result<B>>>,
    take: &mut impl FnMut(&B) -> Result<()>,
) -> Result<()> {
    let mut spare: Vec<B> = Vec::new();
    // Results that wait for an earlier one; the front is number `taken`.
    let mut waiting: VecDeque<Option<B>> = VecDeque::new();
    let (mut sent, mut taken) = (0, 0);
    let mut more = true;
    loop {
        while more && waiting.len() < most {
            let mut batch = spare.pop().unwrap_or_default();
            more = fill(&mut batch)?;
            if !more {
                break;
            }
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
            take(&batch)?;
            spare.push(batch);
        }
    }
}

/// A worker thread's part.
fn serve<B, L: Line<B>>(
    queue: &Mutex<Receiver<Numbered<B>>>,
    line: &L,
    results: &Sender<Numbered<Result<B>>>,
) {
    let mut worker = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, mut batch)) = job else { return };
        // A panic must not leave the caller waiting for this batch, so the queue is closed too.
        let run = AssertUnwindSafe(|| {
            let worker = match &mut worker {
                Some(worker) => worker,
                None => worker.insert(line.worker()?),
            };
            line.work(worker, &mut batch)
        });
        let result = match panic::catch_unwind(run) {
            Ok(result) => result.map(|()| batch),
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

//! Serial consoles that several people share: all of them see what the machine prints, and one has
//! the keyboard.
//!
//! A hypervisor gives one stream for each machine. While anybody watches, a task carries bytes between
//! it and the viewers; with the last of them it ends, and the stream is closed. Whoever comes to type
//! takes the keyboard, and who had it is told. When its holder leaves it is nobody's, until somebody
//! who may types.
//!
//! A guest that does not read its serial line takes no input after a while. That holds up whoever
//! types, and nobody else: output goes on, and the stream is closed in spite of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep;

use crate::vm::VmError;

/// Pieces of output that a slow viewer may be behind.
const BACKLOG: usize = 256;
/// Pieces of input that wait for the machine.
const TYPED: usize = 16;
/// Bytes of output in one piece.
const PIECE: usize = 16 * 1024;
/// How long the machine may take for the last that was typed, when everybody has left.
const GRACE: Duration = Duration::from_secs(2);
/// The keyboard is nobody's.
const NOBODY: u64 = 0;

/// What every viewer is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The machine printed something.
    Output(Bytes),
    /// Somebody took the keyboard.
    Keyboard {
        /// Their seat.
        seat: u64,
        /// Who they are.
        holder: Arc<str>,
    },
    /// The machine is off.
    End,
}

/// The consoles that somebody watches, by machine.
#[derive(Debug, Default)]
pub struct Consoles {
    lines: Mutex<HashMap<i64, Arc<tokio::sync::Mutex<Weak<Line>>>>>,
    seats: AtomicU64,
}

#[derive(Debug)]
struct Line {
    events: broadcast::Sender<Event>,
    typed: mpsc::Sender<Bytes>,
    /// The seat that has the keyboard.
    keyboard: AtomicU64,
    /// Dropped with the line, when the last viewer leaves.
    _watched: oneshot::Sender<()>,
}

/// Somebody who watches a console.
#[derive(Debug)]
pub struct Viewer {
    /// Where they sit.
    pub seat: Seat,
    /// What they see.
    pub screen: Screen,
}

/// What a viewer is told, in order.
#[derive(Debug)]
pub struct Screen(broadcast::Receiver<Event>);

/// A viewer's place at the keyboard.
#[derive(Debug)]
pub struct Seat {
    line: Arc<Line>,
    /// No two of a process have the same.
    pub number: u64,
    holder: Arc<str>,
    may_type: bool,
}

impl Consoles {
    /// Joins those who watch machine `id`, or `connect`s to it as the first. With `may_type` they take
    /// the keyboard.
    ///
    /// # Errors
    /// Those of `connect`.
    pub async fn join(
        &self,
        id: i64,
        holder: &str,
        may_type: bool,
        connect: impl Future<Output = Result<UnixStream, VmError>>,
    ) -> Result<Viewer, VmError> {
        let slot = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            // Places that nobody waits at and nobody watches are dropped, so the map stays small.
            lines.retain(|_, slot| {
                let idle = slot.try_lock().is_ok_and(|line| line.strong_count() == 0);
                !idle || Arc::strong_count(slot) > 1
            });
            Arc::clone(lines.entry(id).or_default())
        };
        let mut slot = slot.lock().await;
        // One whose machine has ended takes no more input.
        let line = slot.upgrade().filter(|line| !line.typed.is_closed());
        let line = match line {
            Some(line) => line,
            None => {
                let line = Line::open(connect.await?);
                *slot = Arc::downgrade(&line);
                line
            }
        };
        let screen = Screen(line.events.subscribe());
        let seat = Seat {
            line,
            number: self.seats.fetch_add(1, Ordering::Relaxed) + 1,
            holder: holder.into(),
            may_type,
        };
        if may_type {
            seat.take_keyboard();
        }
        Ok(Viewer { seat, screen })
    }
}

impl Line {
    fn open(serial: UnixStream) -> Arc<Self> {
        let (events, _) = broadcast::channel(BACKLOG);
        let (typed, keys) = mpsc::channel(TYPED);
        let (watched, left) = oneshot::channel();
        tokio::spawn(carry(serial, events.clone(), keys, left));
        Arc::new(Self {
            events,
            typed,
            keyboard: AtomicU64::new(NOBODY),
            _watched: watched,
        })
    }
}

/// Carries bytes until the machine ends, or nobody watches any more.
async fn carry(
    serial: UnixStream,
    events: broadcast::Sender<Event>,
    mut keys: mpsc::Receiver<Bytes>,
    left: oneshot::Receiver<()>,
) {
    let (mut reader, mut writer) = serial.into_split();
    let (mut printed, mut typed) = (BytesMut::new(), Bytes::new());
    let left = async {
        let _ = left.await;
        sleep(GRACE).await;
    };
    tokio::pin!(left);
    loop {
        printed.reserve(PIECE);
        tokio::select! {
            read = reader.read_buf(&mut printed) => match read {
                Ok(1..) => {
                    let _ = events.send(Event::Output(printed.split().freeze()));
                }
                _ => break,
            },
            // None when everybody has left, and all they typed was taken.
            next = keys.recv(), if typed.is_empty() => match next {
                Some(bytes) => typed = bytes,
                None => break,
            },
            written = writer.write(&typed), if !typed.is_empty() => match written {
                Ok(bytes @ 1..) => typed.advance(bytes),
                _ => break,
            },
            () = &mut left => break,
        }
    }
    // Closed first, so that nobody joins what has ended.
    drop(keys);
    let _ = events.send(Event::End);
}

impl Screen {
    /// What comes next; an error says how many pieces this viewer was too slow for.
    pub async fn next(&mut self) -> Result<Event, u64> {
        match self.0.recv().await {
            Ok(event) => Ok(event),
            Err(broadcast::error::RecvError::Closed) => Ok(Event::End),
            Err(broadcast::error::RecvError::Lagged(pieces)) => Err(pieces),
        }
    }
}

impl Seat {
    fn take_keyboard(&self) {
        self.line.keyboard.store(self.number, Ordering::Release);
        let holder = Arc::clone(&self.holder);
        let seat = self.number;
        let _ = self.line.events.send(Event::Keyboard { seat, holder });
    }

    /// Whether what they type reaches the machine. If the keyboard is nobody's, it is theirs now.
    pub fn has_keyboard(&self) -> bool {
        let holder = self.line.keyboard.load(Ordering::Acquire);
        if holder == NOBODY && self.may_type {
            self.take_keyboard();
            return true;
        }
        holder == self.number
    }

    /// Types `bytes` as soon as the machine takes more; nothing of them, if that is not awaited.
    pub async fn type_in(&self, bytes: &Bytes) {
        // It fails when the machine has ended, of which they are told.
        if let Ok(room) = self.line.typed.reserve().await {
            room.send(bytes.clone());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.line.keyboard.compare_exchange(
            self.number,
            NOBODY,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn output(viewer: &mut Viewer) -> Bytes {
        loop {
            if let Event::Output(bytes) = viewer.screen.next().await.unwrap() {
                return bytes;
            }
        }
    }

    async fn keyboard(viewer: &mut Viewer) -> String {
        loop {
            if let Event::Keyboard { holder, .. } = viewer.screen.next().await.unwrap() {
                return holder.to_string();
            }
        }
    }

    async fn types(viewer: &Viewer, text: &'static str) -> bool {
        let may = viewer.seat.has_keyboard();
        if may {
            viewer.seat.type_in(&text.into()).await;
        }
        may
    }

    async fn heard(machine: &mut UnixStream, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        machine.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn all_see_and_one_types() {
        let consoles = Consoles::default();
        let (ours, mut machine) = UnixStream::pair().unwrap();
        let mut ann = consoles
            .join(7, "ann", true, async { Ok(ours) })
            .await
            .unwrap();
        assert_eq!(keyboard(&mut ann).await, "ann");
        assert!(types(&ann, "ls").await);
        assert_eq!(heard(&mut machine, 2).await, b"ls");

        let not_again = || async { panic!("there is a connection already") };
        let mut eve = consoles.join(7, "eve", false, not_again()).await.unwrap();
        machine.write_all(b"file").await.unwrap();
        assert_eq!(output(&mut ann).await, "file");
        assert_eq!(output(&mut eve).await, "file");
        assert!(!types(&eve, "rm").await, "she only looks");

        let bob = consoles.join(7, "bob", true, not_again()).await.unwrap();
        assert_eq!(keyboard(&mut ann).await, "bob");
        assert!(!types(&ann, "x").await, "bob has the keyboard");
        assert!(types(&bob, "y").await);
        assert_eq!(heard(&mut machine, 1).await, b"y");
        drop(bob);
        assert!(!types(&eve, "x").await, "she still only looks");
        assert!(types(&ann, "z").await, "nobody had it");
        assert_eq!(heard(&mut machine, 1).await, b"z");

        drop(machine);
        loop {
            if let Event::End = ann.screen.next().await.unwrap() {
                break;
            }
        }
        // Somebody still looks at the old one when the machine runs again.
        let (ours, mut machine) = UnixStream::pair().unwrap();
        let new = consoles
            .join(7, "ann", true, async { Ok(ours) })
            .await
            .unwrap();
        assert!(types(&new, "a").await);
        assert_eq!(heard(&mut machine, 1).await, b"a");
        drop((new, ann, eve));
        assert_eq!(
            machine.read(&mut [0]).await.unwrap(),
            0,
            "the last has left"
        );
    }

    #[tokio::test]
    async fn who_is_slow_is_told_what_is_missing() {
        let consoles = Consoles::default();
        let (ours, mut machine) = UnixStream::pair().unwrap();
        let mut slow = consoles
            .join(7, "ann", false, async { Ok(ours) })
            .await
            .unwrap();
        let mut quick = consoles
            .join(7, "bob", false, async { panic!() })
            .await
            .unwrap();
        for number in 0..BACKLOG + 20 {
            machine.write_all(&[number as u8]).await.unwrap();
            output(&mut quick).await;
        }
        assert!(slow.screen.next().await.is_err_and(|pieces| pieces >= 20));
        assert!(slow.screen.next().await.is_ok());
    }

    #[tokio::test]
    async fn a_guest_that_takes_no_input_holds_up_nobody_else() {
        let consoles = Consoles::default();
        let (ours, mut machine) = UnixStream::pair().unwrap();
        let mut ann = consoles
            .join(7, "ann", true, async { Ok(ours) })
            .await
            .unwrap();
        let much = Bytes::from(vec![b'x'; 4096]);
        let flood = async {
            loop {
                ann.seat.type_in(&much).await;
            }
        };
        let full = tokio::time::timeout(Duration::from_millis(200), flood);
        assert!(full.await.is_err(), "it never takes an end");
        machine.write_all(b"deaf").await.unwrap();
        assert_eq!(output(&mut ann).await, "deaf");
        drop(ann);
        let closed = async {
            let mut rest = Vec::new();
            sleep(GRACE).await;
            machine.read_to_end(&mut rest).await
        };
        let closed = tokio::time::timeout(3 * GRACE, closed).await;
        assert!(closed.is_ok(), "the stream stays open");
    }
}

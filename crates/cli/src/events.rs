//! Following the service's events: a stream of server-sent events that is opened again, and goes on
//! where it was, whenever it ends.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use ureq::SendBody;

use crate::client::{self, Client};
use crate::interrupt::Interrupt;

/// How long the service may be away.
const PATIENCE: Duration = Duration::from_secs(300);
/// Before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);
/// Events that wait to be shown.
const WAITING: usize = 16;

/// What happened: the name of the event, and JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

/// The events from when it was opened on.
#[derive(Debug)]
pub struct Events(Receiver<client::Result<Event>>);

impl Events {
    /// Follows objects of the kinds `types`, separated by commas. The first event is `ready`, once
    /// the stream is open.
    pub fn follow(client: Arc<Client>, types: &str) -> Self {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let path = format!("/v2/events?types={types}");
        thread::spawn(move || read(&client, &path, &sender));
        Self(receiver)
    }

    /// The next event; `None` on Ctrl-C.
    ///
    /// # Errors
    /// Of the request, if they do not pass.
    pub fn next(&self, interrupt: &Interrupt) -> client::Result<Option<Event>> {
        loop {
            if interrupt.is_set() {
                return Ok(None);
            }
            match self.0.recv_timeout(TICK) {
                Ok(event) => return event.map(Some),
                Err(RecvTimeoutError::Timeout) => {}
                // Its last word was an error.
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// Reads streams until nobody listens, or an error does not pass.
fn read(client: &Client, path: &str, sender: &SyncSender<client::Result<Event>>) {
    let mut last = String::new();
    let mut answered = Instant::now();
    loop {
        let mut pause = PAUSE;
        match stream(client, path, &mut last, sender) {
            Ok(true) => answered = Instant::now(),
            Ok(false) => return,
            Err(error) if error.is_transient() && answered.elapsed() < PATIENCE => {
                pause = pause.max(error.retry_after().unwrap_or_default());
            }
            Err(error) => {
                let _ = sender.send(Err(error));
                return;
            }
        }
        thread::sleep(pause);
    }
}

/// Reads one stream to its end. Returns false if nobody listens any more.
fn stream(
    client: &Client,
    path: &str,
    last: &mut String,
    sender: &SyncSender<client::Result<Event>>,
) -> client::Result<bool> {
    let mut headers = vec![("accept", "text/event-stream")];
    let again = !last.is_empty();
    let known = last.clone();
    if again {
        headers.push(("last-event-id", &known));
    }
    let response = client.run("GET", path, &headers, SendBody::none())?;
    let body = response.into_body().into_with_config().limit(u64::MAX);
    let mut parser = Parser::default();
    for line in BufReader::new(body.reader()).lines() {
        // However it ended, it is opened again.
        let Ok(line) = line else { break };
        let Some(event) = parser.line(&line) else {
            continue;
        };
        last.clone_from(&parser.id);
        // Only the first stream is news.
        if again && event.name == "ready" {
            continue;
        }
        if sender.send(Ok(event)).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts lines together to events (HTML, section 9.2.6, "Interpreting an event stream").
#[derive(Debug, Default)]
struct Parser {
    /// Of the last event.
    id: String,
    event: Event,
}

impl Parser {
    /// Takes the next line, and gives the event that it ends.
    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments, and fields that do not matter here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_make_events() {
        let mut parser = Parser::default();
        let text = ":hello\n\nid: 7\nevent: image\ndata: {\ndata:}\n\nretry: 5\n\ndata: x\n\n";
        let events: Vec<_> = text.lines().filter_map(|line| parser.line(line)).collect();
        let event = |name: &str, data: &str| Event {
            name: name.to_owned(),
            data: data.to_owned(),
        };
        assert_eq!(events, [event("image", "{\n}"), event("", "x")]);
        assert_eq!(parser.id, "7");
    }
}

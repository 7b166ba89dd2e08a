//! A client for QMP, the JSON protocol by which a running QEMU is asked and told things.
//!
//! Both sides send one JSON object a line. QEMU opens with a greeting; the client must answer with
//! `qmp_capabilities` before anything else. Then each command gets one `return` or `error`; events
//! may arrive in between and are of no interest here. A monitor serves one client at a time, and a
//! second one is accepted but hears nothing until the first is gone, hence the timeouts.
//!
//! Reference: <https://www.qemu.org/docs/master/interop/qmp-spec.html>.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// A guest that broke out into QEMU may send anything; no real answer comes near this size.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// QEMU answers within milliseconds unless it hangs on a dead disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a command had no success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed, ended, or was silent for too long.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is not QMP.
    #[error("QEMU sent what is no QMP message: {0}")]
    Protocol(String),
    /// QEMU understood, and refused.
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's words.
        description: String,
    },
}

/// A monitor that is ready for commands.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Greets QEMU on a fresh connection.
    ///
    /// # Errors
    ///
    /// Silence, the end of the connection, or something else than QMP.
    pub async fn negotiate(stream: UnixStream) -> Result<Self, Error> {
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        let greeting = in_time(qmp.receive()).await?;
        if greeting.get("QMP").is_none() {
            return Err(Error::Protocol(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities").await?;
        Ok(qmp)
    }

    /// Runs a command without arguments and gives what it returned.
    ///
    /// # Errors
    ///
    /// QEMU's refusal, silence, the end of the connection, or something else than QMP.
    pub async fn execute(&mut self, command: &str) -> Result<Value, Error> {
        self.execute_with(command, json!({})).await
    }

    /// Runs a command with these arguments, an object, and gives what it returned.
    ///
    /// # Errors
    ///
    /// As [`Self::execute`].
    pub async fn execute_with(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        in_time(self.exchange(command, arguments)).await
    }

    async fn exchange(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let message = json!({ "execute": command, "arguments": arguments });
        let line = format!("{message}\n");
        self.stream.get_mut().write_all(line.as_bytes()).await?;
        loop {
            let mut message = self.receive().await?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let description = error.get("desc").and_then(Value::as_str).unwrap_or("");
                return Err(Error::Refused {
                    command: command.to_owned(),
                    description: description.to_owned(),
                });
            }
            if message.get("event").is_none() {
                return Err(Error::Protocol(message.to_string()));
            }
        }
    }

    async fn receive(&mut self) -> Result<Value, Error> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_LINE_BYTES);
        limited.read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        serde_json::from_slice(&line).map_err(|error| Error::Protocol(error.to_string()))
    }
}

/// All of an answer, events before it included: one every few seconds must not hold up anybody for ever.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let timed = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    timed.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#;

    /// A monitor that has said `lines` and then hangs up.
    async fn monitor(lines: &[&str]) -> UnixStream {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs
            .write_all((lines.join("\r\n") + "\r\n").as_bytes())
            .await
            .unwrap();
        theirs.shutdown().await.unwrap();
        // Keeps reading, so that commands can be written.
        tokio::spawn(async move {
            let mut rest = Vec::new();
            theirs.read_to_end(&mut rest).await
        });
        ours
    }

    #[tokio::test]
    async fn events_are_skipped_and_refusals_are_quoted() {
        let stream = monitor(&[
            GREETING,
            r#"{"return": {}}"#,
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}"#,
            r#"{"return": {"status": "running"}}"#,
            r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#,
        ]);
        let mut qmp = Qmp::negotiate(stream.await).await.unwrap();
        assert_eq!(
            qmp.execute("query-status").await.unwrap()["status"],
            "running"
        );
        let error = qmp.execute("nonsense").await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused `nonsense`: no such thing");
        let Error::Io(error) = qmp.execute("quit").await.unwrap_err() else {
            panic!("the monitor has hung up")
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn events_without_end_are_no_answer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            let greeting = format!("{GREETING}\n{{\"return\": {{}}}}\n");
            theirs.write_all(greeting.as_bytes()).await.unwrap();
            while theirs
                .write_all(b"{\"event\": \"RTC_CHANGE\"}\n")
                .await
                .is_ok()
            {
                tokio::time::sleep(ANSWER_TIMEOUT / 4).await;
            }
        });
        let mut qmp = Qmp::negotiate(ours).await.unwrap();
        let Error::Io(error) = qmp.execute("query-status").await.unwrap_err() else {
            panic!("nothing was answered")
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn anything_else_is_a_protocol_error() {
        let long = format!("\"{}\"", "x".repeat(2 << 20));
        for first in [
            "SSH-2.0-OpenSSH",
            "{}",
            "[1]",
            &long[..MAX_LINE_BYTES as usize + 5],
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let line = format!("{first}\n");
            tokio::spawn(async move { theirs.write_all(line.as_bytes()).await });
            let error = Qmp::negotiate(ours).await.unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        }
    }
}

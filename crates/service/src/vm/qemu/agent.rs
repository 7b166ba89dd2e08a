//! A client for QEMU's guest agent, a program in the guest that does what only the guest can do. It reads
//! a virtio serial port, of which this side has a socket.
//!
//! Both sides send JSON, one object a line. Nothing says whether anybody listens, and what another
//! client did not read may still be on its way, so a client begins with `guest-sync-delimited`: the
//! answer to it follows a byte that is in no JSON text, and repeats a number.
//!
//! Reference: <https://www.qemu.org/docs/master/interop/qemu-ga-ref.html>.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// A guest may send anything; no answer to what is asked here comes near this size.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// It may have to start a program.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// In no UTF-8 text.
const DELIMITER: u8 = 0xff;

/// Why the agent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or not as an agent does.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It understood, and refused; its words, fit to be shown.
    #[error("{0}")]
    Refused(String),
}

/// An agent that answers.
#[derive(Debug)]
pub struct Agent {
    stream: BufReader<UnixStream>,
}

impl Agent {
    /// Sees whether there is one.
    ///
    /// # Errors
    /// Silence, the end of the connection, or something that is no agent.
    pub async fn greet(stream: UnixStream) -> Result<Self, Error> {
        let mut agent = Self {
            stream: BufReader::new(stream),
        };
        let id: u32 = rand::random();
        // Has the agent forget a command that never ended.
        agent.stream.get_mut().write_all(&[DELIMITER]).await?;
        agent
            .send("guest-sync-delimited", json!({ "id": id }))
            .await?;
        agent.read_until(DELIMITER).await?;
        match agent.answer().await? {
            value if value == id => Ok(agent),
            value => Err(nonsense(&value.to_string())),
        }
    }

    /// Sets a user's password to one with this hash, in the form of crypt(5).
    ///
    /// # Errors
    /// Its refusal, silence, the end of the connection, or nonsense.
    pub async fn set_password(&mut self, user: &str, hash: &str) -> Result<(), Error> {
        let password = BASE64.encode(hash);
        let arguments = json!({ "username": user, "password": password, "crypted": true });
        self.send("guest-set-user-password", arguments).await?;
        self.answer().await.map(drop)
    }

    async fn send(&mut self, command: &str, arguments: Value) -> io::Result<()> {
        let line = format!(
            "{}\n",
            json!({ "execute": command, "arguments": arguments })
        );
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        tokio::time::timeout(ANSWER_TIMEOUT, sent)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn answer(&mut self) -> Result<Value, Error> {
        let line = self.read_until(b'\n').await?;
        let text = String::from_utf8_lossy(&line);
        let mut answer: Value = serde_json::from_slice(&line).map_err(|_| nonsense(&text))?;
        if let Some(value) = answer.get_mut("return") {
            return Ok(value.take());
        }
        match answer["error"]["desc"].as_str() {
            Some(words) => Err(Error::Refused(abbild_guest::clean(words))),
            None => Err(nonsense(&text)),
        }
    }

    /// What comes before and with the byte `end`.
    async fn read_until(&mut self, end: u8) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_ANSWER_BYTES);
        tokio::time::timeout(ANSWER_TIMEOUT, limited.read_until(end, &mut bytes))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match bytes.last() {
            Some(last) if *last == end => Ok(bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn nonsense(said: &str) -> Error {
    let text = format!(
        "no guest agent says {:?}",
        said.chars().take(200).collect::<String>()
    );
    Error::Io(io::Error::new(io::ErrorKind::InvalidData, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays an agent that answers `guest-sync-delimited` rightly, after `before`, and then says `after`.
    fn agent(before: Vec<u8>, after: &'static str) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            let mut stream = BufReader::new(theirs);
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.unwrap();
            assert_eq!(line[0], DELIMITER);
            let asked: Value = serde_json::from_slice(&line[1..]).unwrap();
            let id = &asked["arguments"]["id"];
            stream.write_all(&before).await.unwrap();
            let answer = format!("{{\"return\": {id}}}\n");
            stream.write_all(&[DELIMITER]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            line.clear();
            stream.read_until(b'\n', &mut line).await.unwrap();
            let asked: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(asked["execute"], "guest-set-user-password");
            assert_eq!(asked["arguments"]["password"], "JDYkYSRi");
            stream.write_all(after.as_bytes()).await.unwrap();
        });
        ours
    }

    async fn set(stream: UnixStream) -> Result<(), Error> {
        Agent::greet(stream)
            .await?
            .set_password("root", "$6$a$b")
            .await
    }

    #[tokio::test]
    async fn what_was_left_unread_is_no_answer() {
        let before = b"{\"return\": {}}\n{\"ret".to_vec();
        set(agent(before, "{\"return\": {}}\r\n")).await.unwrap();
        let error = r#"{"error": {"class": "GenericError", "desc": "no such\u0000user"}}"#;
        let refused = set(agent(Vec::new(), error.to_owned().leak())).await;
        assert!(matches!(refused, Err(Error::Io(_))), "the line has no end");
        let refused = set(agent(Vec::new(), format!("{error}\n").leak())).await;
        assert_eq!(refused.unwrap_err().to_string(), "no such\\u{0}user");
    }

    #[tokio::test]
    async fn noise_is_no_agent() {
        for noise in [vec![b'a'; 100 << 10], vec![DELIMITER; 100 << 10]] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            tokio::spawn(async move { theirs.write_all(&noise).await });
            assert!(matches!(Agent::greet(ours).await, Err(Error::Io(_))));
        }
        for answer in ["{\"return\": 1.5}\n", "[]\n", "{}\n"] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&[DELIMITER]).await.unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            assert!(
                matches!(Agent::greet(ours).await, Err(Error::Io(_))),
                "{answer}"
            );
        }
    }
}

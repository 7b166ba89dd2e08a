//! Whether an SSH server answers.
//!
//! A server says first who it is (RFC 4253, section 4.2): a line `SSH-2.0-…`, perhaps after lines of
//! other text. QEMU accepts connections whether the guest listens or not, so that only this line counts.

use std::net::Ipv4Addr;
use std::time::Duration;

use abbild_guest::{Evidence, Origin, clean};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take that answers at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nobody has more to say before that line.
const MAX_BYTES: usize = 4096;

/// The line by which the server behind `port` of this host makes itself known.
pub async fn answer(port: u16) -> Option<Evidence> {
    let asked = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        banner(stream.ok()?).await
    };
    let line = timeout(PATIENCE, asked).await.ok().flatten()?;
    Some(Evidence {
        from: Some(Origin::Network),
        ..Evidence::text(line)
    })
}

async fn banner(mut stream: impl AsyncRead + Unpin) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_BYTES {
        let mut chunk = [0; 256];
        let count = stream.read(&mut chunk).await.ok()?;
        bytes.extend_from_slice(chunk.get(..count)?);
        let complete = bytes.split_inclusive(|byte| *byte == b'\n');
        let mut complete = complete.filter(|line| line.ends_with(b"\n"));
        if let Some(line) = complete.find(|line| line.starts_with(b"SSH-")) {
            return Some(clean(line));
        }
        if count == 0 {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_line_of_a_server_counts() {
        let found = async |bytes: &'static [u8]| banner(bytes).await;
        let line = found(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nmore").await;
        assert_eq!(line.as_deref(), Some("SSH-2.0-OpenSSH_9.2p1 Debian-2"));
        let line = found(b"Welcome\r\nSSH-1.99-x\x1b[2J\n").await;
        assert_eq!(line.as_deref(), Some("SSH-1.99-x\\u{1b}[2J"));
        assert_eq!(found(b"").await, None);
        assert_eq!(found(b"SSH-2.0-cut").await, None);
        assert_eq!(found(b"220 mail ESMTP SSH-\r\n").await, None);
        assert_eq!(found(&[b'\n'; 100_000]).await, None);
    }
}

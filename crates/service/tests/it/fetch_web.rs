//! A web server that does what a test wants, proper or not, and remembers what it was asked. It
//! listens on 127.0.0.2, which tests permit, while 127.0.0.1 stays closed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Imports may reach [`Web`], and do not wait long.
pub const SETTINGS: &str = r#"
[fetch]
allow = ["127.0.0.2/32"]
stall_seconds = 2
retries = 3
"#;

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How many came before.
    pub number: usize,
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where a range that was asked for begins.
    pub fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

pub struct Web {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    /// Answers every request with `answer`, each on a connection of its own.
    pub fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, log, answer) = (stream.unwrap(), log.clone(), answer.clone());
                std::thread::spawn(move || {
                    let Some(mut asked) = read(&stream) else {
                        return;
                    };
                    {
                        let mut log = log.lock().unwrap();
                        asked.number = log.len();
                        log.push(asked.clone());
                    }
                    answer(&asked, &mut stream);
                });
            }
        });
        Self { url, asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    Some(Asked {
        number: 0,
        method,
        target,
        headers,
    })
}

/// Sends a head, and as much of `body` as the client takes.
pub fn reply(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

/// What a proper server with `file` answers, which sends only `limit` bytes and then breaks off.
pub fn file(asked: &Asked, stream: &mut TcpStream, file: &[u8], tag: &str, limit: usize) {
    let from = asked
        .from()
        .filter(|_| asked.header("if-range").is_none_or(|wanted| wanted == tag));
    let rest = &file[from.unwrap_or(0)..];
    let (len, range) = (
        rest.len().to_string(),
        format!(
            "bytes {}-{}/{}",
            from.unwrap_or(0),
            file.len() - 1,
            file.len()
        ),
    );
    let mut headers = vec![("Content-Length", len.as_str()), ("ETag", tag)];
    let status = match from {
        Some(_) => {
            headers.push(("Content-Range", range.as_str()));
            "206 Partial Content"
        }
        None => "200 OK",
    };
    reply(stream, status, &headers, &rest[..rest.len().min(limit)]);
}

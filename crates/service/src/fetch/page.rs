//! What a server says when it does not give the file: pages for people, and the errors of object
//! stores.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

/// Enough of a page to see what it is.
const HEAD_BYTES: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than any title that helps.
const MAX_CHARS: usize = 120;

/// What the body of an unwanted answer is, as the end of a sentence; empty if it says nothing.
pub async fn describe(response: &mut Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_html = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let mut head = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = HEAD_BYTES - head.len();
            head.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if head.len() == HEAD_BYTES {
                break;
            }
        }
    };
    // Whatever is there after that time has to do.
    let _ = tokio::time::timeout(PATIENCE, read).await;
    sentence(&String::from_utf8_lossy(&head), is_html)
}

fn sentence(page: &str, is_html: bool) -> String {
    let start = page
        .trim_start()
        .get(..5)
        .unwrap_or("")
        .to_ascii_lowercase();
    if is_html || start == "<html" || start == "<!doc" {
        return match element(page, "title") {
            Some(title) => format!(" with the web page “{title}” instead of the file"),
            None => " with a web page instead of the file".to_owned(),
        };
    }
    // S3 and what is compatible with it: <Error><Code>…</Code><Message>…</Message>…
    match (element(page, "Code"), element(page, "Message")) {
        (Some(code), Some(message)) => format!(": {code}: {message}"),
        (Some(word), None) | (None, Some(word)) => format!(": {word}"),
        (None, None) => String::new(),
    }
}

/// The text of the first element `name`.
fn element(page: &str, name: &str) -> Option<String> {
    // ASCII only, so that positions are the same in both.
    let lower = page.to_ascii_lowercase();
    let name = name.to_ascii_lowercase();
    let start = lower.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + lower[start..].find(&format!("</{name}>"))?;
    let text = clean(&page[start..end]);
    (!text.is_empty()).then_some(text)
}

/// Foreign text in one short line.
pub fn clean(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    let mut short: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_CHARS)
        .collect();
    if line.chars().count() > MAX_CHARS {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_called_pages_and_errors_are_quoted() {
        for (page, is_html, expected) in [
            ("", false, ""),
            ("nothing of use", false, ""),
            (
                "<!DOCTYPE html><html><head><TITLE>Sign\n in</TITLE>",
                false,
                " with the web page “Sign in” instead of the file",
            ),
            ("<html>", false, " with a web page instead of the file"),
            ("oops", true, " with a web page instead of the file"),
            (
                "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\
                 <Message>Request has expired</Message><RequestId>7</RequestId></Error>",
                false,
                ": AccessDenied: Request has expired",
            ),
            ("<Error><Code>NoSuchKey</Code>", false, ": NoSuchKey"),
            (
                "<title>\u{1b}[31mred</title><html",
                true,
                " with the web page “[31mred” instead of the file",
            ),
            ("<Code>cut", false, ""),
        ] {
            assert_eq!(sentence(page, is_html), expected, "{page}");
        }
        let long = clean(&"ä".repeat(500));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
    }
}

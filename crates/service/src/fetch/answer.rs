//! What a server's answer means: where its bytes belong, how many there are, and which version of
//! the file they are of (RFC 9110).

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};

use super::fault::Fault;
use super::page;
use super::web::Resume;

/// A validator is a short thing.
const MAX_VALIDATOR_BYTES: usize = 512;

/// A server's answer, understood.
#[derive(Debug)]
pub enum Answer {
    /// Bytes follow.
    Bytes(Part),
    /// Everything is here already.
    Complete,
}

/// Where the bytes of an answer belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first in the file: 0, or where it was asked to go on.
    pub start: u64,
    /// Length of the file, if the server says it.
    pub total: Option<u64>,
    /// What to send to get more of the same version, if that is possible.
    pub validator: Option<String>,
}

/// Understands the answer of `host` to a request that wanted to go on at `resume`.
///
/// # Errors
/// If the answer is not what was asked for, with what the server said.
pub async fn read(
    host: &str,
    response: &mut Response,
    resume: Option<&Resume>,
) -> Result<Answer, Fault> {
    let headers = response.headers();
    match (response.status(), resume) {
        (StatusCode::OK, _) => Ok(Answer::Bytes(Part {
            start: 0,
            total: number(headers, &CONTENT_LENGTH),
            validator: validator(headers),
        })),
        (StatusCode::PARTIAL_CONTENT, Some(resume)) => {
            partial(host, headers, resume).map(Answer::Bytes)
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(resume)) => {
            let len =
                text(headers, &CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */"));
            if len.and_then(|len| len.parse().ok()) == Some(resume.offset) {
                return Ok(Answer::Complete);
            }
            Err(Fault::StartOver(format!(
                "{host} has no more than was received"
            )))
        }
        _ => Err(refusal(host, response).await),
    }
}

/// A `206`, which must go on exactly where it was asked to, with the same version.
fn partial(host: &str, headers: &HeaderMap, resume: &Resume) -> Result<Part, Fault> {
    let range = text(headers, &CONTENT_RANGE).unwrap_or("no range");
    let Some((start, total)) = content_range(range).filter(|r| r.0 == resume.offset) else {
        return Err(Fault::StartOver(format!(
            "{host} was asked to go on at byte {} and answered with {}",
            resume.offset,
            page::clean(range)
        )));
    };
    let tag = text(headers, &ETAG);
    if tag.is_some_and(|tag| resume.validator.starts_with('"') && tag != resume.validator) {
        return Err(Fault::StartOver(format!("the file on {host} has changed")));
    }
    Ok(Part {
        start,
        total,
        validator: Some(resume.validator.clone()),
    })
}

/// `bytes FIRST-LAST/LENGTH`: the first, and the length if it is told.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, len) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let len: Option<u64> = match len.trim() {
        "*" => None,
        len => Some(len.parse().ok()?),
    };
    (first <= last && len.is_none_or(|len| last < len)).then_some((first, len))
}

/// What names this version of the file byte for byte: a strong `ETag`, or a `Last-Modified` that
/// is older than the answer by a second at least (RFC 9110 section 8.8.2.2).
fn validator(headers: &HeaderMap) -> Option<String> {
    let short = |value: &&str| value.len() <= MAX_VALIDATOR_BYTES;
    if let Some(tag) = text(headers, &ETAG).filter(short) {
        return (tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'))
            .then(|| tag.to_owned());
    }
    let modified = text(headers, &LAST_MODIFIED).filter(short)?;
    let age = date(text(headers, &DATE)?)?.as_second() - date(modified)?.as_second();
    (age >= 1).then(|| modified.to_owned())
}

/// An answer that brings nothing: what the server said, and whether that may pass.
async fn refusal(host: &str, response: &mut Response) -> Fault {
    let status = response.status();
    let wait = text(response.headers(), &RETRY_AFTER).and_then(seconds);
    let said = page::describe(response).await;
    let reason = format!("{host} answered {status}{said}");
    match status.as_u16() {
        408 | 421 | 425 | 429 | 500 | 502 | 503 | 504 | 506..=599 => {
            Fault::Passing { reason, wait }
        }
        _ => Fault::Final(reason),
    }
}

/// `Retry-After`: seconds, or a date.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let left = date(text)?.as_second() - Timestamp::now().as_second();
            u64::try_from(left).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds))
}

/// An HTTP date in the form that is still written (RFC 9110 section 5.6.7).
fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn content_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes -5-9/10", None),
            ("bits 5-9/10", None),
            ("5-9/10", None),
            ("bytes 5-99999999999999999999/*", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn only_what_names_the_very_bytes_is_a_validator() {
        const NOW: (&str, &str) = ("date", "Wed, 21 Oct 2015 07:28:01 GMT");
        const MODIFIED: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
        for (given, expected) in [
            (&[("etag", "\"a\"")][..], Some("\"a\"")),
            (&[("etag", "W/\"a\"")], None),
            (
                &[("etag", "W/\"a\""), ("last-modified", MODIFIED), NOW],
                None,
            ),
            (&[("etag", "a")], None),
            (&[("last-modified", MODIFIED), NOW], Some(MODIFIED)),
            (&[("last-modified", MODIFIED)], None),
            (&[("last-modified", NOW.1), NOW], None),
            (&[("last-modified", "yesterday"), NOW], None),
            (&[], None),
        ] {
            assert_eq!(validator(&headers(given)).as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn a_part_goes_on_where_it_was_asked_to_with_the_same_version() {
        let resume = Resume {
            offset: 5,
            validator: "\"a\"".into(),
        };
        let part = |pairs: &[(&str, &str)]| partial("host", &headers(pairs), &resume);
        let good = part(&[("content-range", "bytes 5-9/10"), ("etag", "\"a\"")]).unwrap();
        assert_eq!((good.start, good.total), (5, Some(10)));
        assert!(part(&[("content-range", "bytes 5-9/10")]).is_ok());
        for wrong in [
            &[("content-range", "bytes 4-9/10")][..],
            &[("content-range", "bytes 0-9/10")],
            &[("content-range", "bytes 5-9/10"), ("etag", "\"b\"")],
            &[("content-type", "multipart/byteranges; boundary=x")],
        ] {
            assert!(matches!(part(wrong), Err(Fault::StartOver(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_server_may_say_when_to_come_back() {
        assert_eq!(seconds("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            seconds("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(seconds("soon"), None);
    }
}

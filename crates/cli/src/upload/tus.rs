//! The client side of tus 1.0.0 (<https://tus.io/protocols/resumable-upload>): create, ask, append.
//!
//! An upload is known by its *path* on the service. `Location` may be a whole URL; only its path is
//! used, so that the token is never sent anywhere but to the service.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use abbild_api::upload::{OFFSET_OCTET_STREAM, PATH, TUS_VERSION};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Response;
use ureq::{Body, SendBody};

use crate::client::{Client, Error, Result};
use crate::interrupt::Interrupt;

/// Makes an upload of `length` bytes and returns its path (creation extension). `sha256`, in
/// hexadecimal, is of all of them; the service verifies it.
///
/// # Errors
/// Those of the request; [`Error::Malformed`] if the answer names no place.
pub fn create(client: &Client, length: u64, file_name: &str, sha256: &str) -> Result<String> {
    let metadata = format!(
        "filename {},sha256 {}",
        STANDARD.encode(file_name),
        STANDARD.encode(sha256)
    );
    let length = length.to_string();
    let headers = [
        ("tus-resumable", TUS_VERSION),
        ("upload-length", length.as_str()),
        ("upload-metadata", metadata.as_str()),
        ("content-length", "0"),
    ];
    let response = client.run("POST", PATH, &headers, SendBody::none())?;
    let location = header(&response, "location").unwrap_or_default();
    location_path(location)
        .map(str::to_owned)
        .ok_or_else(|| Error::malformed(format!("POST {PATH}"), "no usable Location"))
}

/// How many bytes the service has.
///
/// # Errors
/// Those of the request; [`Error::Malformed`] without a usable `Upload-Offset`.
pub fn offset(client: &Client, path: &str) -> Result<u64> {
    let headers = [("tus-resumable", TUS_VERSION)];
    let response = client.run("HEAD", path, &headers, SendBody::none())?;
    upload_offset(&response, "HEAD", path)
}

/// Sends `piece` and returns how many bytes the service has then.
///
/// # Errors
/// Those of the request; if reading the file was the fault, [`Piece::fault`] has it.
pub fn append(client: &Client, path: &str, piece: &mut Piece<'_>) -> Result<u64> {
    let offset = piece.position.to_string();
    let length = piece.left.to_string();
    let headers = [
        ("tus-resumable", TUS_VERSION),
        ("upload-offset", offset.as_str()),
        ("content-type", OFFSET_OCTET_STREAM),
        ("content-length", length.as_str()),
        // A refusal then arrives before the bytes are sent, not as a broken connection.
        ("expect", "100-continue"),
    ];
    let response = client.run("PATCH", path, &headers, SendBody::from_reader(piece))?;
    upload_offset(&response, "PATCH", path)
}

/// Gives the upload up (termination extension).
///
/// # Errors
/// Those of the request.
pub fn terminate(client: &Client, path: &str) -> Result<()> {
    let headers = [("tus-resumable", TUS_VERSION)];
    client
        .run("DELETE", path, &headers, SendBody::none())
        .map(drop)
}

/// The id that `POST /v2/images` takes: the last segment.
pub fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The path of an absolute or relative URL, if it is one of an upload.
fn location_path(location: &str) -> Option<&str> {
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.get(rest.find('/')?..)?,
        None => location,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    let id = path.strip_prefix(PATH)?.strip_prefix('/')?;
    (!id.is_empty() && path.chars().all(plain)).then_some(path)
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

fn upload_offset(response: &Response<Body>, method: &str, path: &str) -> Result<u64> {
    header(response, "upload-offset")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::malformed(format!("{method} {path}"), "no usable Upload-Offset"))
}

/// A range of a file on its way to the service.
pub struct Piece<'a> {
    file: &'a File,
    position: u64,
    left: u64,
    sent: &'a dyn Fn(u64),
    interrupt: &'a Interrupt,
    fault: Option<io::Error>,
}

impl<'a> Piece<'a> {
    /// `length` bytes from `position`. `sent` is told the position that was reached.
    pub fn new(
        file: &'a File,
        position: u64,
        length: u64,
        sent: &'a dyn Fn(u64),
        interrupt: &'a Interrupt,
    ) -> Self {
        Self {
            file,
            position,
            left: length,
            sent,
            interrupt,
            fault: None,
        }
    }

    /// Why the file could not be read, if that is what ended the request.
    pub fn fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }
}

impl Read for Piece<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.is_set() {
            return Err(io::Error::other("stopped on request"));
        }
        let wanted = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buf[..wanted], self.position);
        let read = read.and_then(|read| match read {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter",
            )),
            read => Ok(read),
        });
        match read {
            Ok(read) => {
                // `read` is at most `left`, which is a u64.
                self.position += read as u64;
                self.left -= read as u64;
                (self.sent)(self.position);
                Ok(read)
            }
            Err(error) => {
                self.fault = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uploads_of_the_service_are_followed() {
        let good = "/v2/uploads/abc-1";
        assert_eq!(location_path(good), Some(good));
        assert_eq!(
            location_path("http://other.example/v2/uploads/abc-1"),
            Some(good)
        );
        for bad in [
            "",
            "/v2/uploads/",
            "/v2/uploads",
            "/v2/images/1",
            "http://host",
            "@evil.example/v2/uploads/1",
            "/v2/uploads/1 HTTP",
            "/v2/uploads/1?x=/v2",
        ] {
            assert_eq!(location_path(bad), None, "{bad}");
        }
        assert_eq!(id(good), "abc-1");
    }

    #[test]
    fn a_piece_ends_where_it_should_and_says_why_if_it_cannot() {
        use std::io::Write as _;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let interrupt = Interrupt::default();
        let mut out = Vec::new();
        let mut piece = Piece::new(&file, 3, 4, &|_| (), &interrupt);
        piece.read_to_end(&mut out).unwrap();
        assert_eq!(out, b"3456");
        let mut piece = Piece::new(&file, 8, 4, &|_| (), &interrupt);
        assert!(piece.read_to_end(&mut out).is_err());
        assert_eq!(piece.fault().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        interrupt.set();
        let mut piece = Piece::new(&file, 0, 4, &|_| (), &interrupt);
        assert!(piece.read_to_end(&mut out).is_err());
        assert!(piece.fault().is_none());
    }
}

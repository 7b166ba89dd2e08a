//! `/v2/images/{id}/export`: an image as a file, in any of the five formats.
//!
//! Nothing is written anywhere for it. The canonical image is a file already; every other
//! uncompressed format is a recipe that says where each byte comes from
//! ([`abbild_convert::compose`]), so that a download begins at once and may be continued anywhere.
//! Only a compressed VMDK has to be made from front to back while it is sent: its length is not
//! known before, and an interrupted download of it begins anew.

use std::fs::File;
use std::io;
use std::ops::{Bound, Range as Span};
use std::sync::Arc;

use abbild_api::{RegionCopyStatus, Stage};
use abbild_convert::{Control, RECIPE_VERSION, Recipe, Target};
use abbild_disk::{FileSource, Image, Source as _};
use anyhow::Context as _;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_extra::headers::{
    AcceptRanges, ContentRange, ETag, HeaderMapExt as _, IfRange, Range as RangeHeader,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::extract::Parameters;
use super::image::live;
use super::openapi::Binary;
use super::{ApiError, ApiResult, PathId, conditional};
use crate::Service;
use crate::auth::Caller;
use crate::db::image::{self, ImageRow};

/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;
/// Pieces that are read ahead of the client.
const AHEAD: usize = 2;
/// Threads that compress one image.
const THREADS: usize = 2;
/// Images that are compressed at once.
pub const EXPORTS: usize = 4;
/// Seconds after which a client may try again that was one too many.
const BUSY_SECONDS: u64 = 30;

/// What file is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `raw`, `qcow2` (when not given), `vhdx`, `vdi` or `vmdk`.
    #[param(example = "qcow2")]
    format: Option<String>,
    /// Whether to compress it. A qcow2 is compressed when not given: that is the canonical image,
    /// as it is stored, whose SHA-256 is the image's digest. A compressed `vmdk` is streamOptimized.
    /// Other formats have no compression.
    compress: Option<bool>,
}

/// A file that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    target: Target,
    compress: bool,
}

impl Wanted {
    fn kind(&self) -> ApiResult<Kind> {
        let name = self.format.as_deref().unwrap_or("qcow2");
        let Some(target) = Target::from_name(name) else {
            let names = Target::ALL.map(Target::name).join(", ");
            let message = format!("`format` is `{name}`; there are {names}");
            return Err(ApiError::unprocessable(message));
        };
        let compress = self.compress.unwrap_or(target == Target::Qcow2);
        if compress && !target.compresses() {
            let message = format!("`compress`: a {target} has no compression");
            return Err(ApiError::unprocessable(message));
        }
        Ok(Kind { target, compress })
    }
}

/// The image as a file, of which every part can be read.
#[derive(Debug)]
enum Content {
    Canonical(FileSource),
    Recipe(Recipe, Box<Image<FileSource>>),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Canonical(file) => file.len(),
            Self::Recipe(recipe, _) => recipe.len(),
        }
    }

    fn read(&self, span: Span<u64>) -> io::Result<Bytes> {
        let mut buf = vec![0; (span.end - span.start) as usize];
        match self {
            Self::Canonical(file) => file
                .read_at(span.start, &mut buf)
                .map_err(io::Error::other)?,
            Self::Recipe(recipe, disk) => recipe
                .read_at(disk.as_ref(), span.start, &mut buf)
                .map_err(io::Error::other)?,
        }
        Ok(buf.into())
    }
}

/// Downloads an image in any of the five formats
///
/// *Ours.* The file is made while it is sent. `Range` continues an interrupted download, except of a
/// compressed VMDK; the entity tag changes with the bytes, so send it as `If-Range`.
#[utoipa::path(
    get,
    path = "/v2/images/{id}/export",
    tag = "Images",
    params(PathId, Wanted),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream", body = inline(Binary)),
        (status = 206, description = "The part of it that `Range` names", content_type = "application/octet-stream", body = inline(Binary)),
        (status = 304, description = "`If-None-Match` names this very file"),
        (status = 409, description = "The image is not available yet"),
        (status = 422, description = "There is no such `format`, or it has no compression"),
        (status = 416, description = "`Range` begins behind the end"),
    ),
)]
pub async fn export(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    Parameters(wanted): Parameters<Wanted>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let row = live(service.db.read(), account.id, id).await?;
    let kind = wanted.kind()?;
    let (digest, file) = canonical(&service, &row).await?;
    let tag = entity_tag(&digest, kind);
    let mut response = if conditional::is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if kind.compress && kind.target != Target::Qcow2 {
        compressed(&service, &digest, file, &method).await?
    } else {
        let content = blocking(move || open(file, kind.target, kind.compress, &digest)).await?;
        ranged(content, &tag, &headers)?
    };
    let answer = response.headers_mut();
    answer.typed_insert(tag);
    answer.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    answer.insert(CONTENT_DISPOSITION, disposition(&row.name, kind.target)?);
    Ok(response)
}

/// The digest of the canonical image, and its file in any region that has it.
async fn canonical(service: &Service, row: &ImageRow) -> ApiResult<(String, File)> {
    let digest = match (row.stage()?, &row.digest) {
        (Stage::Available, Some(digest)) => digest.clone(),
        (Stage::Failed, _) => {
            let reason = &row.error_message;
            let message =
                format!("there is nothing to export, because the import failed: {reason}");
            return Err(ApiError::unprocessable(message));
        }
        _ => {
            let message =
                "the image is not available yet; export it when its status is `available`";
            return Err(ApiError::conflict(message));
        }
    };
    for copy in image::regions(service.db.read(), row.id).await? {
        if copy.status()? != RegionCopyStatus::Available {
            continue;
        }
        let Ok(region) = service.region(&copy.region) else {
            continue;
        };
        match region.store.open_file(&digest).await {
            Ok(file) => return Ok((digest, file)),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(region.slug, digest, error, "an image cannot be read");
            }
        }
    }
    Err(ApiError::internal(format!(
        "no region holds sha256:{digest}"
    )))
}

fn entity_tag(digest: &str, kind: Kind) -> ETag {
    match (kind.target, kind.compress) {
        (Target::Qcow2, true) => conditional::tag(digest),
        (target, compress) => {
            let form = if compress { "packed" } else { "plain" };
            conditional::tag(&format!("{digest}-{target}-{form}-{RECIPE_VERSION}"))
        }
    }
}

fn open(file: File, target: Target, compress: bool, digest: &str) -> anyhow::Result<Content> {
    let source = FileSource::new(file)?;
    if compress {
        return Ok(Content::Canonical(source));
    }
    let disk = abbild_disk::open(source)?;
    let recipe = abbild_convert::compose(&disk, target, bytes_of(digest)?)?;
    Ok(Content::Recipe(recipe, Box::new(disk)))
}

fn bytes_of(digest: &str) -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).context("the digest in the database")?;
    Ok(bytes)
}

/// All of the file, or the one part of it that the client asks for.
fn ranged(content: Content, tag: &ETag, headers: &HeaderMap) -> ApiResult<Response> {
    let len = content.len();
    let span = match span(headers, tag, len) {
        Ok(span) => span,
        Err(()) => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            let range = ContentRange::unsatisfied_bytes(len);
            response.headers_mut().typed_insert(range);
            return Ok(response);
        }
    };
    let partial = span.as_ref().is_some();
    let span = span.unwrap_or(0..len);
    let body = Body::from_stream(pieces(Arc::new(content), span.clone()));
    let mut response = Response::new(body);
    let answer = response.headers_mut();
    answer.insert(CONTENT_LENGTH, HeaderValue::from(span.end - span.start));
    answer.typed_insert(AcceptRanges::bytes());
    if partial {
        let range = ContentRange::bytes(span, len).map_err(ApiError::internal)?;
        answer.typed_insert(range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The part that is asked for; none for the whole, which is also the answer to several ranges at
/// once and to those of another version of the file.
///
/// # Errors
/// When the part lies behind the end.
fn span(headers: &HeaderMap, tag: &ETag, len: u64) -> Result<Option<Span<u64>>, ()> {
    let Some(range) = headers.typed_get::<RangeHeader>() else {
        return Ok(None);
    };
    if headers
        .typed_get::<IfRange>()
        .is_some_and(|version| version.is_modified(Some(tag), None))
    {
        return Ok(None);
    }
    let mut spans = range.satisfiable_ranges(len);
    match (spans.next(), spans.next()) {
        (None, _) => Err(()),
        (Some((first, last)), None) => {
            let start = match first {
                Bound::Included(start) => start,
                _ => 0,
            };
            let end = match last {
                Bound::Included(last) => last.saturating_add(1).min(len),
                _ => len,
            };
            if start < end {
                Ok(Some(start..end))
            } else {
                Err(())
            }
        }
        (Some(_), Some(_)) => Ok(None),
    }
}

/// The bytes of `span`, read a little ahead of whoever takes them.
fn pieces(content: Arc<Content>, span: Span<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    let end = span.end;
    let starts = (span.start..end).step_by(PIECE as usize);
    futures_util::stream::iter(starts)
        .map(move |start| {
            let content = content.clone();
            async move {
                let piece = start..end.min(start + PIECE);
                let read = tokio::task::spawn_blocking(move || content.read(piece)).await;
                let read = read.map_err(io::Error::other).flatten();
                read.inspect_err(|error| tracing::error!(%error, "reading an image to export"))
            }
        })
        .buffered(AHEAD)
}

/// A streamOptimized VMDK, made while it is sent.
async fn compressed(
    service: &Service,
    digest: &str,
    file: File,
    method: &Method,
) -> ApiResult<Response> {
    let identity = bytes_of(digest)?;
    if method == Method::HEAD {
        return Ok(Response::new(Body::empty()));
    }
    let permit = service.exports.clone().try_acquire_owned().map_err(|_| {
        let message = "too many images are being compressed; export without `compress`, or later";
        ApiError::too_many_requests(message, BUSY_SECONDS)
    })?;
    let disk = blocking(move || Ok(abbild_disk::open(FileSource::new(file)?)?)).await?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let to_client = sender.clone();
        let sink = move |bytes: &[u8]| {
            let sent = to_client.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
            // Whoever wanted it is gone.
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
        };
        let made = abbild_convert::stream(&disk, identity, THREADS, sink, &Control::none());
        if let Err(error) = made
            && !sender.is_closed()
        {
            tracing::error!(%error, "compressing an image to export");
            // Breaks the connection off, so that the client knows that the file is not whole.
            let _ = sender.blocking_send(Err(io::Error::other(error)));
        }
        drop(permit);
    });
    Ok(Response::new(Body::from_stream(ReceiverStream::new(
        receiver,
    ))))
}

/// `attachment`, with a name that people recognise (RFC 6266).
fn disposition(name: &str, target: Target) -> ApiResult<HeaderValue> {
    let suffix = target.name();
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let text =
        format!("attachment; filename=\"{plain}.{suffix}\"; filename*=UTF-8''{encoded}.{suffix}");
    HeaderValue::from_str(&text).map_err(ApiError::internal)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> ApiResult<T> {
    let result = tokio::task::spawn_blocking(work).await;
    Ok(result.map_err(ApiError::internal)??)
}

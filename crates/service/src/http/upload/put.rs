//! `PUT /v2/uploads/{name}`: an upload in one request, for `curl -T` and its like.
//!
//! The client chooses the name, which is its own business: it is how an interrupted upload is
//! found again. `?region=hal1` makes an image of it at once, under the name of the upload or
//! `?name=`. `HEAD` says how far an interrupted upload came, and a `PUT` with `Content-Range` goes
//! on from there, which is what `curl -C OFFSET -T FILE` sends. A `PUT` without it begins anew.

use std::sync::Arc;

use abbild_api::upload::{Upload, UploadOne};
use abbild_api::{CreateImage, ImageOne, Stage};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::super::image_create::Wanted;
use super::super::image_source::Source;
use super::super::openapi::Binary;
use super::super::{ApiError, ApiResult, Language, checked_name, image_view};
use super::headers::{maybe_number, text};
use super::receive::{Terms, receive};
use super::tus::{self, check_offset};
use super::{check_not_failed, find, take_over};
use crate::Service;
use crate::auth::Caller;
use crate::db::upload::{self, LENGTH_UNKNOWN, NewUpload, UploadRow};
use crate::db::{image, sql_size};
use crate::uploads::capacity;

/// Which bytes of the upload a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes {
    /// Where they begin.
    start: u64,
    /// Whether they continue what is here, instead of replacing it.
    continues: bool,
    /// Of the whole upload, if known.
    length: Option<u64>,
}

/// Sends a file in one request
///
/// For `curl -T` and its like: the last part of the path is a name of the client's choice, under
/// which an interrupted upload is found again. `region`, which may come more than once, makes an
/// image of it at once. `HEAD` says how far an interrupted upload came, and `Content-Range` goes on
/// there; without it the upload begins anew.
#[utoipa::path(
    put,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "A name for the upload"),
        ("region" = Option<Vec<String>>, Query, description = "Makes an image in these regions"),
        ("name" = Option<String>, Query, description = "The image's name; that of the upload by default"),
        ("distribution" = Option<String>, Query, description = "Of the image"),
        ("description" = Option<String>, Query, description = "Of the image"),
        ("tag" = Option<Vec<String>>, Query, description = "The image's tags"),
        ("content-range" = Option<String>, Header, description = "`bytes FIRST-LAST/TOTAL`, to go on with an upload"),
        Language,
    ),
    request_body(
        content = inline(Binary),
        content_type = "application/octet-stream",
        description = "The file, or the rest of it",
    ),
    responses(
        (status = 201, description = "The upload is complete", body = UploadOne),
        (status = 202, description = "It is complete, and the image is being made", body = ImageOne),
        (status = 409, description = "The bytes do not begin where the upload continues, or it is being written or imported"),
        (status = 413, description = "The file is too long"),
        (status = 422, description = "The first bytes show that it cannot become an image, or the query is wrong"),
        (status = 503, description = "The service receives as many uploads as it can"),
        (status = 507, description = "There is no room for it"),
    ),
)]
pub async fn put(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let name = checked_name(&name)?;
    let bytes = bytes_of(&headers)?;
    let request = image_request(name, &query);
    let wanted = request
        .as_ref()
        .map(|request| Wanted::of(&service, request))
        .transpose()?;
    let existing = upload::find(service.db.read(), account.id, name).await?;
    let row = match existing {
        Some(row) if row.name.as_deref() != Some(name) => {
            return Err(ApiError::conflict(
                "this is the id of an upload that was begun by tus; continue it by `PATCH`, or \
                 choose another name",
            ));
        }
        Some(row) => row,
        None if bytes.continues => {
            return Err(ApiError::conflict(format!(
                "there is no upload `{name}` that could be continued; send it from its first byte"
            )));
        }
        None => begin(&service, account.id, name, bytes).await?,
    };
    let writing = take_over(&service, &row.id).await?;
    if !bytes.continues {
        restart(&service, &row.id, bytes, wanted).await?;
    }
    let row = find(&service, account.id, &row.id).await?;
    check_not_failed(&row)?;
    check_offset(&row, bytes.start)?;
    if bytes.length.is_some() && row.length().is_some_and(|l| bytes.length != Some(l)) {
        return Err(ApiError::bad_request(format!(
            "the upload has another length than the {} bytes that were announced at first",
            row.length().unwrap_or(0)
        )));
    }
    let terms = Terms {
        length: bytes.length.filter(|_| row.length().is_none()),
        ends_upload: true,
        ..Terms::default()
    };
    let id = row.id.clone();
    // Asked before the last byte is here: after it, the import may end at any moment.
    let image = image::id_by_upload(service.db.read(), &id).await?;
    receive(&service, row, body, terms, writing).await?;
    match image {
        Some(image) => {
            let image = image_view::one(&service, account.id, image, lang).await?;
            Ok((StatusCode::ACCEPTED, Json(ImageOne { image })).into_response())
        }
        None => {
            let row = find(&service, account.id, &id).await?;
            let upload = to_api(&row);
            Ok((StatusCode::CREATED, Json(UploadOne { upload })).into_response())
        }
    }
}

fn to_api(row: &UploadRow) -> Upload {
    Upload {
        id: row.id.clone(),
        name: row.name.clone(),
        length: row.length(),
        received: row.received(),
        complete: row.is_complete(),
    }
}

/// The image that the query asks for.
fn image_request(name: &str, query: &[(String, String)]) -> Option<CreateImage> {
    let values = |key: &'static str| {
        query
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.clone())
    };
    let regions: Vec<String> = values("region").chain(values("regions")).collect();
    if regions.is_empty() {
        return None;
    }
    Some(CreateImage {
        name: values("name").next().unwrap_or_else(|| name.to_owned()),
        regions,
        distribution: values("distribution").next(),
        description: values("description").next().unwrap_or_default(),
        tags: values("tag").chain(values("tags")).collect(),
        ..CreateImage::default()
    })
}

async fn begin(service: &Service, account: i64, name: &str, bytes: Bytes) -> ApiResult<UploadRow> {
    let mut tx = service.db.write().await?;
    let new = NewUpload {
        account,
        length: bytes.length.map_or(LENGTH_UNKNOWN, sql_size),
        metadata: "",
        name: Some(name),
        concat: "",
    };
    let id = tus::insert(service, &mut tx, &new, bytes.length.unwrap_or(0)).await?;
    tx.commit().await?;
    find(service, account, &id).await
}

/// Makes an upload begin at its first byte, and the image that it becomes, so that it can be seen
/// receiving; what is being imported is left alone.
async fn restart(
    service: &Arc<Service>,
    id: &str,
    bytes: Bytes,
    wanted: Option<Wanted<'_>>,
) -> ApiResult<()> {
    let mut tx = service.db.write().await?;
    let row = upload::get(&mut tx, id).await?;
    let image = image::by_upload(&mut tx, id).await?;
    if let Some(image) = &image
        && image.stage()? != Stage::Receiving
    {
        return Err(ApiError::conflict(format!(
            "the upload is complete and being imported as image {}",
            image.id
        )));
    }
    let length = bytes.length.map_or(LENGTH_UNKNOWN, sql_size);
    if row.received() > 0 || row.failure.is_some() || row.length() != bytes.length {
        let more = bytes
            .length
            .unwrap_or(0)
            .saturating_sub(row.length().unwrap_or(0));
        if bytes.length.unwrap_or(0) > service.config.limits.max_upload_size {
            let max = service.config.limits.max_upload_size;
            return Err(tus::too_large(max, bytes.length.unwrap_or(0)));
        }
        capacity::check_new(service, &mut tx, more).await?;
        upload::restart(&mut tx, id, length).await?;
    }
    if image.is_none()
        && let Some(wanted) = wanted
    {
        wanted
            .insert(service, &mut tx, row.account_id, Source::Upload(id))
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What `Content-Range` and `Content-Length` say.
fn bytes_of(headers: &HeaderMap) -> ApiResult<Bytes> {
    let body = maybe_number(headers, &CONTENT_LENGTH)?;
    let Some(range) = text(headers, &CONTENT_RANGE)? else {
        return Ok(Bytes {
            start: 0,
            continues: false,
            length: body,
        });
    };
    let parsed = parse_range(range).filter(|(start, end, _)| {
        // A body that is shorter or longer than its range is nothing to rely on.
        body.is_none_or(|body| end.checked_sub(*start).and_then(|n| n.checked_add(1)) == Some(body))
    });
    let (start, _, total) = parsed.ok_or_else(|| {
        ApiError::bad_request(format!(
            "`Content-Range: {range}` must be `bytes FIRST-LAST/TOTAL`, and LAST that of the body"
        ))
    })?;
    Ok(Bytes {
        start,
        continues: start > 0,
        length: Some(total),
    })
}

/// `bytes 10-99/100`; RFC 9110, section 14.4.
fn parse_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, total) = (
        start.trim().parse().ok()?,
        end.trim().parse().ok()?,
        total.trim().parse().ok()?,
    );
    (start <= end && end < total).then_some((start, end, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!(parse_range("bytes 10-99/100"), Some((10, 99, 100)));
        for bad in [
            "bytes 10-99/*",
            "bytes 10-100/100",
            "bytes 20-10/100",
            "bytes -10/100",
            "items 1-2/3",
            "10-99/100",
        ] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_query_makes_an_image_if_it_names_a_region() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert!(image_request("n", &[pair("name", "x")]).is_none());
        let query = [pair("region", "a"), pair("region", "b"), pair("tag", "t")];
        let request = image_request("n", &query).unwrap();
        assert_eq!(request.name, "n");
        assert_eq!(request.regions, ["a", "b"]);
        assert_eq!(request.tags, ["t"]);
    }
}

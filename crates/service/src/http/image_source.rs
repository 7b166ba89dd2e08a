//! Where the bytes of a new image come from: an upload, or a URL that the service fetches into an
//! upload of its own.

use abbild_api::{CreateImage, Stage};
use reqwest::Url;

use super::upload::metadata_value;
use super::{ApiError, ApiResult};
use crate::Service;
use crate::db::upload::NewUpload;
use crate::db::{self, Tx, image, upload};

/// As the request says it.
#[derive(Debug)]
pub enum Source<'r> {
    /// An upload of the caller, complete or not.
    Upload(&'r str),
    /// To be fetched into an upload whose file is there already.
    Url(Url, String),
}

/// The upload that a new image refers to.
#[derive(Debug)]
pub struct Attached {
    /// Its id.
    pub upload: String,
    /// Where the import stands with it.
    pub stage: Stage,
    /// Whether the service fetches its bytes.
    pub fetched: bool,
    /// The checksum that was announced with the upload.
    pub checksum: Option<String>,
}

impl<'r> Source<'r> {
    /// Reads what the request says.
    ///
    /// # Errors
    /// 422 unless it names one source, and one that may be used.
    pub fn of(service: &Service, request: &'r CreateImage) -> ApiResult<Self> {
        match (request.upload.as_deref(), request.url.as_deref()) {
            (Some(upload), None) => Ok(Self::Upload(upload)),
            (None, Some(url)) => Self::of_url(service, url),
            (None, None) => Err(ApiError::unprocessable(
                "`url` or `upload` is missing: where the image is fetched from, or the id of an \
                 upload to /v2/uploads",
            )),
            (Some(_), Some(_)) => Err(ApiError::unprocessable(
                "an image comes from its `url` or from its `upload`, not from both",
            )),
        }
    }

    fn of_url(service: &Service, url: &str) -> ApiResult<Self> {
        if !service.config.fetch.enabled {
            return Err(ApiError::unprocessable(
                "import by `url` is switched off here; send the bytes to /v2/uploads and name the \
                 `upload`",
            ));
        }
        let url = service
            .web
            .policy()
            .parse(url)
            .map_err(ApiError::unprocessable)?;
        let id = uuid::Uuid::new_v4().to_string();
        // The file comes first: a file without a row is removed at the next start.
        service
            .uploads
            .create_file(&id)
            .map_err(|e| ApiError::writing(&e))?;
        Ok(Self::Url(url, id))
    }

    /// Finds or makes the upload.
    ///
    /// # Errors
    /// 422 when the caller has no such upload, or it belongs to an image already.
    pub async fn attach(self, tx: &mut Tx, account: i64) -> ApiResult<Attached> {
        match self {
            Self::Upload(id) => existing(tx, account, id).await,
            Self::Url(url, id) => {
                let new = NewUpload {
                    account,
                    length: 0,
                    metadata: "",
                    name: None,
                    concat: "",
                };
                upload::insert(tx, &id, &new).await?;
                db::fetch::insert(tx, &id, url.as_str()).await?;
                Ok(Attached {
                    upload: id,
                    stage: Stage::Receiving,
                    fetched: true,
                    checksum: None,
                })
            }
        }
    }
}

async fn existing(tx: &mut Tx, account: i64, id: &str) -> ApiResult<Attached> {
    let upload = upload::find(&mut **tx, account, id)
        .await?
        .ok_or_else(|| ApiError::unprocessable(format!("there is no upload `{id}`")))?;
    if image::by_upload(tx, &upload.id).await?.is_some() {
        return Err(ApiError::unprocessable(format!(
            "upload `{id}` already belongs to an image"
        )));
    }
    if upload.is_partial() {
        return Err(ApiError::unprocessable(format!(
            "upload `{id}` is a part; put the parts together and use the upload that they make"
        )));
    }
    if let Some(reason) = upload.failure {
        return Err(ApiError::unprocessable(reason));
    }
    let checksum = metadata_value(&upload.metadata, "sha256")
        .map(|digest| format!("sha256:{}", digest.to_ascii_lowercase()));
    let stage = if upload.is_complete() {
        Stage::Queued
    } else {
        Stage::Receiving
    };
    Ok(Attached {
        upload: upload.id,
        stage,
        fetched: false,
        checksum,
    })
}

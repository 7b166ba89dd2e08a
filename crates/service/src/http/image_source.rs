//! Where the bytes of a new image come from: an upload, a URL that the service fetches into an upload
//! of its own, or an image that the account has already. What other accounts have is never looked at,
//! so that nobody learns of it.

use abbild_api::CreateImage;
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
    /// The content of an image of the caller: a SHA-256 in hexadecimal.
    Known(String),
}

/// What a new image begins with.
#[derive(Debug, Default)]
pub struct Attached {
    /// The id of its upload.
    pub upload: Option<String>,
    /// An image of the same content.
    pub same_as: Option<i64>,
    /// Whether everything is here that the import needs.
    pub ready: bool,
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
        let CreateImage {
            upload,
            url,
            digest,
            ..
        } = request;
        match (upload.as_deref(), url.as_deref(), digest.as_deref()) {
            (Some(upload), None, None) => Ok(Self::Upload(upload)),
            (None, Some(url), None) => Self::of_url(service, url),
            (None, None, Some(_)) if request.checksum.is_some() => Err(ApiError::unprocessable(
                "nothing is sent for a known `digest`, so there is no file to compare with `checksum`",
            )),
            (None, None, Some(digest)) => sha256(digest).map(Self::Known),
            (None, None, None) => Err(ApiError::unprocessable(
                "`url` or `upload` is missing: where the image is fetched from, or the id of an \
                 upload to /v2/uploads",
            )),
            _ => Err(ApiError::unprocessable(
                "an image comes from its `url`, its `upload` or a known `digest`, not from several",
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
        // The file comes first, so that no row is ever without one.
        service
            .uploads
            .create_file(&id)
            .map_err(|e| ApiError::writing(&e))?;
        Ok(Self::Url(url, id))
    }

    /// The upload whose file was made for this source, and that has no row yet.
    pub fn new_file(&self) -> Option<&str> {
        match self {
            Self::Url(_, id) => Some(id),
            Self::Upload(_) | Self::Known(_) => None,
        }
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
                    upload: Some(id),
                    fetched: true,
                    ..Attached::default()
                })
            }
            Self::Known(digest) => {
                let same = image::with_content(tx, account, &digest).await?;
                let same = same.ok_or_else(|| {
                    ApiError::unprocessable(format!(
                        "no image of the account has the content sha256:{digest}; upload it"
                    ))
                })?;
                Ok(Attached {
                    same_as: Some(same.id),
                    ready: true,
                    ..Attached::default()
                })
            }
        }
    }
}

/// The hexadecimal digits of `sha256:HEX`, in lower case.
///
/// # Errors
/// 422 if it is something else.
pub fn sha256(digest: &str) -> ApiResult<String> {
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.map(str::to_ascii_lowercase).ok_or_else(|| {
        ApiError::unprocessable("`digest` must be `sha256:` and 64 hexadecimal digits")
    })
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
    Ok(Attached {
        ready: upload.is_complete(),
        upload: Some(upload.id),
        checksum,
        ..Attached::default()
    })
}

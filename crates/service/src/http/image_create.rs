//! `POST /v2/images`: an image begins, with all that is to become of it.

use std::sync::Arc;

use abbild_api::{CreateImage, ImageOne, Quota, RegionCopyStatus, Stage, distribution_or_unknown};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::image::known_region;
use super::image_source::Source;
use super::{ApiError, ApiResult, Body, Language, checked_name, image_view};
use crate::auth::Caller;
use crate::db::action::NewAction;
use crate::db::image::{self, ImageRow, NewImage};
use crate::db::tag::Kind;
use crate::db::{self, Tx};
use crate::import::Checksum;
use crate::{Service, quota};

/// Makes an image of an upload or of what is at a URL
///
/// The upload may be incomplete: the import begins when its last byte is here. The image becomes
/// available in the first region, and is then copied to the others. *Ours* are `upload`, `digest`,
/// `regions` and `checksum`.
#[utoipa::path(
    post,
    path = "/v2/images",
    tag = "Images",
    params(Language),
    request_body = CreateImage,
    responses((status = 202, description = "The image, which is not available yet", body = ImageOne)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    Body(request): Body<CreateImage>,
) -> ApiResult<(StatusCode, Json<ImageOne>)> {
    let wanted = Wanted::of(&service, &request)?;
    let source = Source::of(&service, &request)?;
    let file = source.new_file().map(str::to_owned);
    let made = async {
        let mut tx = service.db.write().await?;
        let made = wanted.insert(&service, &mut tx, account.id, source).await?;
        tx.commit().await?;
        ApiResult::Ok(made)
    };
    let made = made.await;
    if made.is_err()
        && let Some(id) = file
    {
        super::upload::forget_file(&service, &id).await;
    }
    let (row, fetched) = made?;
    service.announce(if fetched { "fetch" } else { "image" });
    let image = image_view::one(&service, account.id, row.id, lang).await?;
    Ok((StatusCode::ACCEPTED, Json(ImageOne { image })))
}

/// A new image whose request was found to be in order.
#[derive(Debug)]
pub struct Wanted<'r> {
    request: &'r CreateImage,
    name: &'r str,
    regions: Vec<String>,
    checksum: Option<String>,
}

impl<'r> Wanted<'r> {
    /// Checks everything but the source.
    ///
    /// # Errors
    /// 422 with what is wrong.
    pub fn of(service: &Service, request: &'r CreateImage) -> ApiResult<Self> {
        Ok(Self {
            request,
            regions: wanted_regions(service, request)?,
            name: checked_name(&request.name)?,
            checksum: checksum(request)?,
        })
    }

    /// Makes the image out of the bytes of `source`; also returns whether the service fetches them.
    ///
    /// # Errors
    /// 422 when the source cannot be used.
    pub async fn insert(
        self,
        service: &Service,
        tx: &mut Tx,
        account: i64,
        source: Source<'_>,
    ) -> ApiResult<(ImageRow, bool)> {
        let quotas = &service.config.quotas;
        // How much an upload will take is not known yet; but something, and in each region.
        let wanted = [(Quota::Images, 1), (Quota::StoredBytes, 1)];
        quota::check(quotas, tx, account, &wanted).await?;
        let attached = source.attach(tx, account).await?;
        let distribution = self.request.distribution.as_deref();
        let id = image::insert(
            tx,
            &NewImage {
                account,
                name: self.name,
                description: &self.request.description,
                distribution: distribution.map_or("", distribution_or_unknown),
                upload: attached.upload.as_deref(),
                checksum: self.checksum.or(attached.checksum).as_deref(),
                stage: match attached.ready {
                    true => Stage::Queued,
                    false => Stage::Receiving,
                },
                droplet: None,
            },
        )
        .await?;
        if let Some(same) = attached.same_as {
            image::set_content(tx, id, same).await?;
            let bytes = image::get(tx, id).await?.stored_bytes.unwrap_or(0);
            let wanted =
                bytes.saturating_mul(i64::try_from(self.regions.len()).unwrap_or(i64::MAX));
            quota::check(quotas, tx, account, &[(Quota::StoredBytes, wanted)]).await?;
        }
        super::tag::set(tx, account, Kind::Image, id, &self.request.tags).await?;
        insert_actions(tx, account, id, &self.regions, attached.ready).await?;
        if attached.fetched {
            db::action::make_fetchable(tx, id).await?;
        }
        Ok((image::get(tx, id).await?, attached.fetched))
    }
}

/// The checksum as it is kept.
fn checksum(request: &CreateImage) -> ApiResult<Option<String>> {
    let checksum = request.checksum.as_deref().map(str::parse::<Checksum>);
    let checksum = checksum.transpose().map_err(ApiError::unprocessable)?;
    Ok(checksum.map(|checksum| checksum.to_string()))
}

/// The import into the first region, and a transfer for each further one, which waits for it.
async fn insert_actions(
    tx: &mut Tx,
    account: i64,
    image: i64,
    regions: &[String],
    ready: bool,
) -> ApiResult<()> {
    for (index, region) in regions.iter().enumerate() {
        image::set_region(tx, image, region, RegionCopyStatus::Pending, None).await?;
        let new = NewAction {
            account,
            kind: if index == 0 { "create" } else { "transfer" },
            resource_type: "image",
            resource: image,
            region: Some(region),
            parameters: None,
            ready: ready && index == 0,
        };
        db::action::insert(tx, &new).await?;
    }
    Ok(())
}

fn wanted_regions(service: &Service, request: &CreateImage) -> ApiResult<Vec<String>> {
    let mut regions: Vec<String> = Vec::new();
    for slug in request.region.iter().chain(&request.regions) {
        known_region(service, slug)?;
        if !regions.contains(slug) {
            regions.push(slug.clone());
        }
    }
    if regions.is_empty() {
        return Err(ApiError::unprocessable("`region` is missing"));
    }
    Ok(regions)
}

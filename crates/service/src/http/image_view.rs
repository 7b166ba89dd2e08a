//! Images as the API shows them.
//!
//! A page of images is made with one query for each kind of thing that belongs to them, however many
//! there are.

use std::collections::HashMap;

use abbild_api::{
    Id, Image, ImageExtra, ImageStatus, Progress, RegionCopy, RegionCopyStatus, Stage,
};
use abbild_guest::Lang;

use super::action::timestamp;
use super::{ApiError, ApiResult};
use crate::Service;
use crate::db::action::{self, ActionRow};
use crate::db::fetch::{self, FetchRow};
use crate::db::image::{self, ImageRegionRow, ImageRow};
use crate::db::upload::{self, UploadRow};
use crate::db::{Connection, from_json, from_sql_size, tag};
use crate::fetch::target;
use crate::summary::Summary;

const GIB: u64 = 1 << 30;

/// `row` on the wire, with sentences in `lang`.
pub async fn one(service: &Service, row: ImageRow, lang: Lang) -> ApiResult<Image> {
    let mut images = many(service, vec![row], lang).await?;
    images
        .pop()
        .ok_or_else(|| ApiError::internal("an image vanished while it was shown"))
}

/// `rows` on the wire, in that order.
pub async fn many(service: &Service, rows: Vec<ImageRow>, lang: Lang) -> ApiResult<Vec<Image>> {
    let mut db = service.db.read().acquire().await?;
    many_by(&mut db, rows, lang).await
}

/// The same by a connection that the caller has.
pub async fn many_by(
    db: &mut Connection,
    rows: Vec<ImageRow>,
    lang: Lang,
) -> ApiResult<Vec<Image>> {
    let mut parts = Parts::load(db, &rows).await?;
    rows.into_iter()
        .map(|row| parts.assemble(row, lang))
        .collect()
}

/// What belongs to a page of images, by image.
struct Parts {
    copies: HashMap<i64, Vec<ImageRegionRow>>,
    open: HashMap<i64, Vec<ActionRow>>,
    tags: HashMap<i64, Vec<String>>,
    /// By upload.
    uploads: HashMap<String, UploadRow>,
    /// By upload.
    fetches: HashMap<String, FetchRow>,
}

impl Parts {
    async fn load(db: &mut Connection, rows: &[ImageRow]) -> ApiResult<Self> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let uploads: Vec<String> = rows.iter().filter_map(|r| r.upload_id.clone()).collect();
        Ok(Self {
            copies: image::regions_of_many(db, &ids).await?,
            open: action::open_of_many(db, "image", &ids).await?,
            tags: tag::of_many(db, tag::Kind::Image, &ids).await?,
            fetches: fetch::find_many(db, &uploads).await?,
            uploads: upload::find_many(db, &uploads).await?,
        })
    }

    fn assemble(&mut self, row: ImageRow, lang: Lang) -> ApiResult<Image> {
        let stage = row.stage()?;
        let open = self.open.remove(&row.id).unwrap_or_default();
        let copies = self.copies.remove(&row.id).unwrap_or_default();
        let upload = row.upload_id.as_ref().and_then(|id| self.uploads.get(id));
        let fetch = row.upload_id.as_ref().and_then(|id| self.fetches.get(id));
        let regions = region_copies(copies, &open)?;
        let virtual_size = row.virtual_bytes.map(from_sql_size);
        let summary = summary(&row)?;
        let distribution = distribution(&row, summary.as_ref());
        let kind = kind(&row);
        let extra = ImageExtra {
            stage,
            progress: stage_progress(stage, upload, fetch, &open),
            verdict: summary.as_ref().map(|s| s.verdict.as_str().to_owned()),
            findings: summary.map_or_else(Vec::new, |summary| summary.findings(lang)),
            digest: row.digest.map(|digest| format!("sha256:{digest}")),
            format: row.format,
            virtual_size,
            setback: setback(&open),
            upload: upload.map(|upload| upload.id.clone()),
            url: fetch.map(|fetch| target::shown(&fetch.url)),
            regions,
        };
        Ok(Image {
            id: Id(row.id),
            name: row.name,
            kind: kind.to_owned(),
            distribution,
            slug: None,
            public: false,
            regions: available(&extra.regions),
            created_at: timestamp(row.created_at),
            min_disk_size: i64::try_from(virtual_size.unwrap_or(0).div_ceil(GIB))
                .unwrap_or(i64::MAX),
            size_gigabytes: gigabytes(row.stored_bytes),
            description: row.description,
            tags: self.tags.remove(&row.id).unwrap_or_default(),
            status: status(stage),
            error_message: row.error_message,
            extra: Some(extra),
        })
    }
}

/// `type`, as the original API has it.
fn kind(row: &ImageRow) -> &'static str {
    match row.droplet_id {
        Some(_) => "snapshot",
        None => "custom",
    }
}

fn region_copies(copies: Vec<ImageRegionRow>, open: &[ActionRow]) -> ApiResult<Vec<RegionCopy>> {
    let copies = copies.into_iter().map(|copy| {
        Ok(RegionCopy {
            progress: progress(open, "transfer", Some(&copy.region)),
            status: copy.status()?,
            slug: copy.region,
            reason: copy.reason,
        })
    });
    copies.collect()
}

fn available(copies: &[RegionCopy]) -> Vec<String> {
    copies
        .iter()
        .filter(|copy| copy.status == RegionCopyStatus::Available)
        .map(|copy| copy.slug.clone())
        .collect()
}

/// What is shown of the report on an image, once it was checked.
pub fn summary(row: &ImageRow) -> ApiResult<Option<Summary>> {
    Ok(row.summary.as_deref().map(from_json).transpose()?)
}

/// What the owner said, or what was found when the owner said nothing.
fn distribution(row: &ImageRow, summary: Option<&Summary>) -> String {
    if !row.distribution.is_empty() {
        return row.distribution.clone();
    }
    let id = summary.and_then(|summary| summary.os.as_deref());
    let name = match id.unwrap_or("") {
        "arch" => "Arch Linux",
        "centos" => "CentOS",
        "debian" => "Debian",
        "fedora" => "Fedora",
        "freebsd" => "FreeBSD",
        "gentoo" => "Gentoo",
        "rocky" => "Rocky Linux",
        "ubuntu" => "Ubuntu",
        id if id.starts_with("opensuse") => "openSUSE",
        _ => "Unknown",
    };
    name.to_owned()
}

/// Hundredths are what people read.
fn gigabytes(bytes: Option<i64>) -> f64 {
    #[allow(clippy::cast_precision_loss)] // a size for people
    let gigabytes = bytes.unwrap_or(0) as f64 / GIB as f64;
    (gigabytes * 100.0).round() / 100.0
}

fn status(stage: Stage) -> ImageStatus {
    match stage {
        Stage::Receiving => ImageStatus::New,
        Stage::Available => ImageStatus::Available,
        Stage::Failed | Stage::Deleted => ImageStatus::Deleted,
        _ => ImageStatus::Pending,
    }
}

fn stage_progress(
    stage: Stage,
    upload: Option<&UploadRow>,
    fetch: Option<&FetchRow>,
    open: &[ActionRow],
) -> Option<Progress> {
    let running = || progress(open, "create", None);
    let of = |done, total| Progress {
        done: from_sql_size(done),
        total: from_sql_size(total),
    };
    match (stage, upload, fetch) {
        (Stage::Receiving, _, Some(fetch)) => {
            let safe = || of(fetch.received_bytes, fetch.total_bytes.unwrap_or(0));
            Some(running().unwrap_or_else(safe))
        }
        // Without a length, there is nothing to measure by.
        (Stage::Receiving, Some(upload), None) => upload.length().map(|length| Progress {
            done: upload.received(),
            total: length,
        }),
        (Stage::Receiving, None, None) => None,
        _ => running(),
    }
}

fn setback(open: &[ActionRow]) -> Option<String> {
    let action = open.iter().find(|action| action.kind == "create")?;
    action.reason.clone()
}

fn progress(open: &[ActionRow], kind: &str, region: Option<&str>) -> Option<Progress> {
    let action = open
        .iter()
        .find(|a| a.kind == kind && (region.is_none() || a.region.as_deref() == region))?;
    let (done, total) = action.progress_done.zip(action.progress_total)?;
    Some(Progress {
        done: from_sql_size(done),
        total: from_sql_size(total),
    })
}

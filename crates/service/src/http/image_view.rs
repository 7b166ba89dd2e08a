//! Images as the API shows them.
//!
//! A page of images is made with one query for each kind of thing that belongs to them, however many
//! there are.

use abbild_api::{
    Id, Image, ImageExtra, ImageStatus, Progress, RegionCopy, RegionCopyStatus, Stage,
};
use abbild_guest::Lang;

use super::action::timestamp;
use super::{ApiError, ApiResult};
use crate::Service;
use crate::db::image::{self, ImageRow, ShownCopyRow, ShownRow};
use crate::db::{Connection, from_json, from_sql_size};
use crate::fetch::target;
use crate::summary::Summary;

const GIB: u64 = 1 << 30;

/// An image on the wire, deleted or not, with sentences in `lang`.
///
/// # Errors
/// 404 when the account never had it.
pub async fn one(service: &Service, account: i64, id: i64, lang: Lang) -> ApiResult<Image> {
    let mut db = service.db.read().acquire().await?;
    let rows = image::shown(&mut db, account, &[id]).await?;
    let images = many_by(&mut db, rows, lang).await?;
    images.into_iter().next().ok_or_else(ApiError::not_found)
}

/// `rows` on the wire, in that order.
pub async fn many(service: &Service, rows: Vec<ShownRow>, lang: Lang) -> ApiResult<Vec<Image>> {
    let mut db = service.db.read().acquire().await?;
    many_by(&mut db, rows, lang).await
}

/// The same by a connection that the caller has.
pub async fn many_by(
    db: &mut Connection,
    rows: Vec<ShownRow>,
    lang: Lang,
) -> ApiResult<Vec<Image>> {
    let ids: Vec<i64> = rows.iter().map(|shown| shown.row.id).collect();
    let mut copies = image::regions_of_many(db, &ids).await?;
    rows.into_iter()
        .map(|shown| {
            let copies = copies.remove(&shown.row.id).unwrap_or_default();
            assemble(shown, copies, lang)
        })
        .collect()
}

fn assemble(shown: ShownRow, copies: Vec<ShownCopyRow>, lang: Lang) -> ApiResult<Image> {
    let stage = shown.row.stage()?;
    let progress = stage_progress(stage, &shown);
    let tags = shown.tags();
    let ShownRow {
        row,
        source,
        url,
        setback,
        ..
    } = shown;
    let regions = region_copies(copies)?;
    let virtual_size = row.virtual_bytes.map(from_sql_size);
    let summary = summary(&row)?;
    let distribution = distribution(&row, summary.as_ref());
    let kind = kind(&row);
    let extra = ImageExtra {
        stage,
        progress,
        verdict: summary.as_ref().map(|s| s.verdict.as_str().to_owned()),
        findings: summary.map_or_else(Vec::new, |summary| summary.findings(lang)),
        digest: row.digest.map(|digest| format!("sha256:{digest}")),
        format: row.format,
        virtual_size,
        setback,
        upload: source.filter(|_| url.is_none()),
        url: url.as_deref().map(target::shown),
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
        min_disk_size: i64::try_from(virtual_size.unwrap_or(0).div_ceil(GIB)).unwrap_or(i64::MAX),
        size_gigabytes: gigabytes(row.stored_bytes),
        description: row.description,
        tags,
        status: status(stage),
        error_message: row.error_message,
        extra: Some(extra),
    })
}

/// `type`, as the original API has it.
fn kind(row: &ImageRow) -> &'static str {
    match row.droplet_id {
        Some(_) => "snapshot",
        None => "custom",
    }
}

fn region_copies(copies: Vec<ShownCopyRow>) -> ApiResult<Vec<RegionCopy>> {
    let copies = copies.into_iter().map(|copy| {
        Ok(RegionCopy {
            progress: progress(copy.progress_done, copy.progress_total),
            status: copy.row.status()?,
            slug: copy.row.region,
            reason: copy.row.reason,
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

fn stage_progress(stage: Stage, shown: &ShownRow) -> Option<Progress> {
    let running = progress(shown.progress_done, shown.progress_total);
    let safe = |total| Progress {
        done: shown.received(),
        total,
    };
    match stage {
        Stage::Receiving if shown.url.is_some() => {
            running.or_else(|| Some(safe(shown.length().unwrap_or(0))))
        }
        // Without a length, there is nothing to measure by.
        Stage::Receiving => shown.length().map(safe),
        _ => running,
    }
}

fn progress(done: Option<i64>, total: Option<i64>) -> Option<Progress> {
    let (done, total) = done.zip(total)?;
    Some(Progress {
        done: from_sql_size(done),
        total: from_sql_size(total),
    })
}

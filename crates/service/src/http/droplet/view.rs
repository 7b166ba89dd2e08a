//! Machines on the wire.

use std::collections::HashMap;

use abbild_api::{Droplet, DropletExtra, DropletRescue, Id, Image, Region, SerialConsole};
use abbild_guest::Lang;
use sqlx::Any;
use sqlx::pool::PoolConnection;

use crate::Service;
use crate::db::droplet::{self, DropletRow, RescueRow, ShownRow};
use crate::db::from_json;
use crate::db::image;
use crate::http::action::timestamp;
use crate::http::{ApiError, ApiResult, image_view};
use crate::machine;
use crate::size::Size;
use crate::summary::Summary;
use crate::vm::Hypervisor;

/// A machine on the wire, unless it was deleted.
pub async fn find(
    service: &Service,
    mut db: PoolConnection<Any>,
    account: i64,
    id: i64,
    lang: Lang,
) -> ApiResult<Option<Droplet>> {
    let mut rows = droplet::shown(&mut db, account, &[id]).await?;
    rows.retain(|shown| shown.row.deleted_at.is_none());
    let droplets = many(service, db, rows, lang).await?;
    Ok(droplets.into_iter().next())
}

/// Machines that were made just now, on the wire in the order of their making.
pub async fn created(
    service: &Service,
    account: i64,
    ids: &[i64],
    lang: Lang,
) -> ApiResult<Vec<Droplet>> {
    let mut db = service.db.read().acquire().await?;
    let mut rows = droplet::shown(&mut db, account, ids).await?;
    rows.reverse();
    many(service, db, rows, lang).await
}

/// `rows`, of one account, on the wire in that order.
///
/// There is one query for each kind of thing that belongs to them, all by one connection: to take another
/// for each costs as much as the query.
pub async fn many(
    service: &Service,
    mut db: PoolConnection<Any>,
    rows: Vec<ShownRow>,
    lang: Lang,
) -> ApiResult<Vec<Droplet>> {
    let Some(account) = rows.first().map(|shown| shown.row.account_id) else {
        return Ok(Vec::new());
    };
    let mut ids: Vec<i64> = rows.iter().map(|shown| shown.row.image_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let image_rows = image::shown(&mut db, account, &ids).await?;
    let summaries = image_rows
        .iter()
        .map(|shown| Ok((shown.row.id, image_view::summary(&shown.row)?)))
        .collect::<ApiResult<HashMap<i64, _>>>()?;
    let images = image_view::many_by(&mut db, image_rows, lang).await?;
    drop(db);
    let images: HashMap<i64, Image> = images.into_iter().map(|i| (i.id.0, i)).collect();
    let mut droplets = Vec::with_capacity(rows.len());
    for shown in rows {
        let id = shown.row.image_id;
        let image = images.get(&id).cloned();
        let image = image.ok_or_else(|| ApiError::internal(format!("image {id} is gone")))?;
        let summary = summaries.get(&id).and_then(Option::as_ref);
        droplets.push(assemble(service, shown, image, summary, lang).await?);
    }
    Ok(droplets)
}

async fn assemble(
    service: &Service,
    shown: ShownRow,
    image: Image,
    summary: Option<&Summary>,
    lang: Lang,
) -> ApiResult<Droplet> {
    let (locked, snapshots, tags) = (shown.locked(), shown.snapshots()?, shown.tags());
    let row = shown.row;
    let status = row.status()?;
    let size = Size::find(&row.size)
        .ok_or_else(|| ApiError::internal(format!("size {} is gone", row.size)))?;
    let extra = extra(service, &row, summary, lang).await?;
    let region = service.region(&row.region);
    let networks = machine::networks(&service.config.vm, &row)?;
    Ok(Droplet {
        id: Id(row.id),
        name: row.name,
        memory: size.memory_mib.into(),
        vcpus: size.vcpus.into(),
        disk: size.disk_gb_of(row.disk_gb),
        locked,
        status,
        kernel: None,
        created_at: timestamp(row.created_at),
        features: from_json(&row.features)?,
        backup_ids: Vec::new(),
        next_backup_window: None,
        snapshot_ids: snapshots.into_iter().map(Id).collect(),
        image,
        volume_ids: Vec::new(),
        size: size.to_api(service.regions.iter().map(|r| r.slug.clone()).collect()),
        size_slug: row.size,
        networks,
        region: region.map_or_else(|_| former_region(&row.region), |region| region.to_api()),
        tags,
        vpc_uuid: String::new(),
        extra: Some(extra),
    })
}

/// A region that was taken out of the configuration while it had machines.
fn former_region(slug: &str) -> Region {
    Region {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        features: Vec::new(),
        available: false,
        sizes: Vec::new(),
    }
}

async fn extra(
    service: &Service,
    row: &DropletRow,
    summary: Option<&Summary>,
    lang: Lang,
) -> ApiResult<DropletExtra> {
    let acceleration = match service.region(&row.region) {
        Ok(region) => Some(region.hypervisor.acceleration().await),
        Err(_) => None,
    };
    Ok(DropletExtra {
        ssh_port: u16::try_from(row.ssh_port).unwrap_or(22),
        default_user: summary.and_then(|s| s.default_user.clone()),
        acceleration: acceleration
            .as_ref()
            .map_or_else(String::new, |a| a.name.to_owned()),
        acceleration_note: acceleration.and_then(|a| a.fallback_reason),
        hardware: row.hardware()?,
        rescue: row.rescue()?.map(rescue),
        forwards: row.forwards()?,
        reason: row.reason.clone(),
        // An import with a failure is refused, but a snapshot may have one.
        warnings: summary.map_or_else(Vec::new, |summary| summary.findings(lang)),
        console: SerialConsole {
            path: format!("/v2/droplets/{}/console", row.id),
            log: format!("/v2/droplets/{}/console/log", row.id),
        },
    })
}

fn rescue(row: RescueRow) -> DropletRescue {
    let image = match row {
        RescueRow::System => None,
        RescueRow::Image { id, .. } => Some(Id(id)),
    };
    DropletRescue { image }
}

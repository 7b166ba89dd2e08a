//! Machines on the wire.

use std::collections::HashMap;

use abbild_api::{Droplet, DropletExtra, DropletRescue, Id, Image, Region, SerialConsole};
use abbild_guest::Lang;
use sqlx::Any;
use sqlx::pool::PoolConnection;

use crate::Service;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow, RescueRow};
use crate::db::image::{self, ImageRow};
use crate::db::tag::{self, Kind};
use crate::db::{self, from_json};
use crate::http::action::timestamp;
use crate::http::{ApiError, ApiResult, image_view};
use crate::machine;
use crate::size::Size;
use crate::vm::Hypervisor;

/// A machine on the wire, unless it was deleted.
pub async fn find(
    service: &Service,
    account: i64,
    id: i64,
    lang: Lang,
) -> ApiResult<Option<Droplet>> {
    let mut db = service.db.read().acquire().await?;
    let open = db::action::open_of_many(&mut db, "droplet", &[id]).await?;
    let row = droplet::find(&mut *db, account, id).await?;
    let droplets = show(service, db, row.into_iter().collect(), &open, lang).await?;
    Ok(droplets.into_iter().next())
}

/// `rows`, of one account, on the wire in that order.
pub async fn many(service: &Service, rows: Vec<DropletRow>, lang: Lang) -> ApiResult<Vec<Droplet>> {
    let Some(account) = rows.first().map(|row| row.account_id) else {
        return Ok(Vec::new());
    };
    let mut db = service.db.read().acquire().await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let open = db::action::open_of_many(&mut db, "droplet", &ids).await?;
    let mut present = droplet::find_many(&mut db, account, &ids).await?;
    let rows = rows
        .into_iter()
        .map(|row| present.remove(&row.id).unwrap_or(row))
        .collect();
    show(service, db, rows, &open, lang).await
}

/// `rows`, of one account, on the wire, with one query for each kind of thing that belongs to them, all by
/// one connection: to take another for each costs as much as the query.
///
/// An action moves its machine in the transaction in which it ends. So the `open` actions are those from
/// before the rows were read: a machine that is not locked is then what its last action made of it.
async fn show(
    service: &Service,
    mut db: PoolConnection<Any>,
    rows: Vec<DropletRow>,
    open: &HashMap<i64, Vec<ActionRow>>,
    lang: Lang,
) -> ApiResult<Vec<Droplet>> {
    let Some(account) = rows.first().map(|row| row.account_id) else {
        return Ok(Vec::new());
    };
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut image_ids: Vec<i64> = rows.iter().map(|row| row.image_id).collect();
    image_ids.sort_unstable();
    image_ids.dedup();
    let images = image::find_many(&mut db, account, &image_ids).await?;
    let shown = image_view::many_by(&mut db, images.values().cloned().collect(), lang).await?;
    let shown: HashMap<i64, _> = shown.into_iter().map(|image| (image.id.0, image)).collect();
    let mut snapshots = image::snapshots_of_many(&mut db, &ids).await?;
    let mut tags = tag::of_many(&mut db, Kind::Droplet, &ids).await?;
    drop(db);
    let mut droplets = Vec::with_capacity(rows.len());
    for row in rows {
        let gone = || ApiError::internal(format!("image {} is gone", row.image_id));
        let parts = Parts {
            row: images.get(&row.image_id).ok_or_else(gone)?,
            image: shown.get(&row.image_id).cloned().ok_or_else(gone)?,
            locked: open.contains_key(&row.id),
            snapshots: snapshots.remove(&row.id).unwrap_or_default(),
            tags: tags.remove(&row.id).unwrap_or_default(),
        };
        droplets.push(assemble(service, row, parts, lang).await?);
    }
    Ok(droplets)
}

/// What belongs to a droplet.
struct Parts<'a> {
    row: &'a ImageRow,
    image: Image,
    locked: bool,
    snapshots: Vec<i64>,
    tags: Vec<String>,
}

async fn assemble(
    service: &Service,
    row: DropletRow,
    parts: Parts<'_>,
    lang: Lang,
) -> ApiResult<Droplet> {
    let status = row.status()?;
    let size = Size::find(&row.size)
        .ok_or_else(|| ApiError::internal(format!("size {} is gone", row.size)))?;
    let extra = extra(service, &row, parts.row, lang).await?;
    let region = service.region(&row.region);
    let networks = machine::networks(&service.config.vm, &row)?;
    Ok(Droplet {
        id: Id(row.id),
        name: row.name,
        memory: size.memory_mib.into(),
        vcpus: size.vcpus.into(),
        disk: size.disk_gb_of(row.disk_gb),
        locked: parts.locked,
        status,
        kernel: None,
        created_at: timestamp(row.created_at),
        features: from_json(&row.features)?,
        backup_ids: Vec::new(),
        next_backup_window: None,
        snapshot_ids: parts.snapshots.into_iter().map(Id).collect(),
        image: parts.image,
        volume_ids: Vec::new(),
        size: size.to_api(service.regions.iter().map(|r| r.slug.clone()).collect()),
        size_slug: row.size,
        networks,
        region: region.map_or_else(|_| former_region(&row.region), |region| region.to_api()),
        tags: parts.tags,
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
    image: &ImageRow,
    lang: Lang,
) -> ApiResult<DropletExtra> {
    let summary = image_view::summary(image)?;
    let acceleration = match service.region(&row.region) {
        Ok(region) => Some(region.hypervisor.acceleration().await),
        Err(_) => None,
    };
    Ok(DropletExtra {
        ssh_port: u16::try_from(row.ssh_port).unwrap_or(22),
        default_user: summary.as_ref().and_then(|s| s.default_user.clone()),
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

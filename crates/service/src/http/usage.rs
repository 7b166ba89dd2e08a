//! `/v2/account/usage`: what the account stores and runs.

use std::sync::Arc;

use abbild_api::{DropletUsage, RegionUsage, UploadUsage, Usage, UsageOne};
use axum::Json;
use axum::extract::State;

use super::ApiResult;
use crate::Service;
use crate::auth::Caller;
use crate::db::usage::{self, DropletsRow, RegionRow};
use crate::size::Size;

/// Shows what the account uses
///
/// *Ours.* Images with their stored bytes by region, uploads, and machines.
#[utoipa::path(
    get,
    path = "/v2/account/usage",
    tag = "Account",
    operation_id = "usage",
    responses((status = 200, description = "The usage", body = UsageOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
) -> ApiResult<Json<UsageOne>> {
    let db = service.db.read();
    let stored = usage::regions(db, account.id).await?;
    let droplets = usage::droplets(db, account.id).await?;
    let (count, received_bytes, announced_bytes) = usage::uploads(db, account.id).await?;
    let usage = Usage {
        images: usage::images(db, account.id).await?,
        stored_bytes: stored.iter().map(|row| row.stored_bytes).sum(),
        unique_bytes: stored.iter().map(|row| row.unique_bytes).sum(),
        regions: by_region(&service, &stored, &droplets),
        uploads: UploadUsage {
            count,
            received_bytes,
            announced_bytes,
        },
        droplets: all_droplets(&droplets),
    };
    Ok(Json(UsageOne { usage }))
}

/// Every configured region, and every other one in which something is left.
fn by_region(
    service: &Service,
    stored: &[RegionRow],
    droplets: &[DropletsRow],
) -> Vec<RegionUsage> {
    let mut slugs: Vec<&str> = service.regions.iter().map(|r| r.slug.as_str()).collect();
    let rows = stored.iter().map(|row| row.region.as_str());
    for slug in rows.chain(droplets.iter().map(|row| row.region.as_str())) {
        if !slugs.contains(&slug) {
            slugs.push(slug);
        }
    }
    let one = |slug: &str| {
        let stored = stored.iter().find(|row| row.region == slug);
        RegionUsage {
            slug: slug.to_owned(),
            images: stored.map_or(0, |row| row.images),
            stored_bytes: stored.map_or(0, |row| row.stored_bytes),
            unique_bytes: stored.map_or(0, |row| row.unique_bytes),
            droplets: droplets
                .iter()
                .filter(|row| row.region == slug)
                .map(|row| row.count)
                .sum(),
        }
    };
    slugs.into_iter().map(one).collect()
}

fn all_droplets(rows: &[DropletsRow]) -> DropletUsage {
    let mut all = DropletUsage::default();
    for row in rows {
        all.count += row.count;
        if row.status == "active" {
            all.active += row.count;
        }
        // A size that is no longer offered is counted, but what it took is not known.
        if let Some(size) = Size::find(&row.size) {
            all.vcpus += row.count * i64::from(size.vcpus);
            all.memory += row.count * i64::from(size.memory_mib);
            all.disk += row.count * i64::from(size.disk_gb);
        }
    }
    all
}

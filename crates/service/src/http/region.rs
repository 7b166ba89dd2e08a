//! `/v2/regions` and `/v2/sizes`: what there is to choose from.

use std::sync::Arc;

use abbild_api::{RegionList, SizeList};
use axum::Json;
use axum::extract::State;

use super::Paging;
use crate::Service;
use crate::auth::Caller;
use crate::size::SIZES;

/// Lists the regions
#[utoipa::path(
    get,
    path = "/v2/regions",
    tag = "Regions",
    params(Paging),
    responses((status = 200, description = "A page of regions", body = RegionList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    _: Caller,
    paging: Paging,
) -> Json<RegionList> {
    let all = service
        .regions
        .iter()
        .map(|region| region.to_api())
        .collect();
    let (regions, links, meta) = paging.cut(all);
    Json(RegionList {
        regions,
        links,
        meta,
    })
}

/// Lists the sizes of machines
#[utoipa::path(
    get,
    path = "/v2/sizes",
    tag = "Sizes",
    operation_id = "list",
    params(Paging),
    responses((status = 200, description = "A page of sizes", body = SizeList)),
)]
pub async fn sizes(
    State(service): State<Arc<Service>>,
    _: Caller,
    paging: Paging,
) -> Json<SizeList> {
    let slugs: Vec<_> = service.regions.iter().map(|r| r.slug.clone()).collect();
    let all = SIZES
        .iter()
        .map(|size| size.to_api(slugs.clone()))
        .collect();
    let (sizes, links, meta) = paging.cut(all);
    Json(SizeList { sizes, links, meta })
}

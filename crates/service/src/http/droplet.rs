//! `/v2/droplets`: the machines.

use std::collections::HashMap;
use std::sync::Arc;

use abbild_api::{
    ActionOne, ActionsOfMany, CreateDroplet, CreateDropletAnswer, CreateLinks, CreatedAction,
    Droplet, DropletAction, DropletExtra, DropletList, DropletOne, DropletStatus, Id, IdOrName,
    Image, NetworkV4, Networks, Region, RegionCopyStatus, SerialConsole, Stage,
};
use abbild_guest::{Lang, Outcome, Report};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::action::timestamp;
use super::{ApiError, ApiResult, BaseUrl, Body, Language, Paging, PathId, image_view};
use crate::Service;
use crate::auth::Caller;
use crate::db::action::{ActionRow, NewAction};
use crate::db::droplet::{self, DropletRow, NewDroplet};
use crate::db::image::{self, Filter, ImageRow};
use crate::db::tag::{self, Kind};
use crate::db::{self, Tx, from_sql_size, key};
use crate::machine;
use crate::quota;
use crate::size::Size;
use crate::vm::Hypervisor;

/// More than this does not fit a config drive, says the API.
const MAX_USER_DATA_BYTES: usize = 64 << 10;
/// Machines that one request may create.
const MAX_NAMES: usize = 10;

/// `row` on the wire, with sentences in `lang`.
/// A machine on the wire, unless it was deleted.
pub async fn find(
    service: &Service,
    account: i64,
    id: i64,
    lang: Lang,
) -> ApiResult<Option<Droplet>> {
    match droplet::find(service.db.read(), account, id).await? {
        Some(row) => Ok(Some(to_api(service, row, lang).await?)),
        None => Ok(None),
    }
}

async fn to_api(service: &Service, row: DropletRow, lang: Lang) -> ApiResult<Droplet> {
    let mut droplets = many(service, vec![row], lang).await?;
    droplets
        .pop()
        .ok_or_else(|| ApiError::internal("a droplet vanished while it was shown"))
}

/// `rows`, of one account, on the wire in that order: with one query for each kind of thing that
/// belongs to them.
async fn many(service: &Service, rows: Vec<DropletRow>, lang: Lang) -> ApiResult<Vec<Droplet>> {
    let Some(account) = rows.first().map(|row| row.account_id) else {
        return Ok(Vec::new());
    };
    let db = service.db.read();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut image_ids: Vec<i64> = rows.iter().map(|row| row.image_id).collect();
    image_ids.sort_unstable();
    image_ids.dedup();
    let images = image::find_many(db, account, &image_ids).await?;
    let shown = image_view::many(service, images.values().cloned().collect(), lang).await?;
    let shown: HashMap<i64, _> = shown.into_iter().map(|image| (image.id.0, image)).collect();
    let open = db::action::open_of_many(db, "droplet", &ids).await?;
    let mut tags = tag::of_many(db, Kind::Droplet, &ids).await?;
    let mut droplets = Vec::with_capacity(rows.len());
    for row in rows {
        let gone = || ApiError::internal(format!("image {} is gone", row.image_id));
        let parts = Parts {
            row: images.get(&row.image_id).ok_or_else(gone)?,
            image: shown.get(&row.image_id).cloned().ok_or_else(gone)?,
            locked: open.contains_key(&row.id),
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
    Ok(Droplet {
        id: Id(row.id),
        name: row.name,
        memory: size.memory_mib.into(),
        vcpus: size.vcpus.into(),
        disk: size.disk_gb.into(),
        locked: parts.locked,
        status,
        kernel: None,
        created_at: timestamp(row.created_at),
        features: Vec::new(),
        backup_ids: Vec::new(),
        next_backup_window: None,
        snapshot_ids: Vec::new(),
        image: parts.image,
        volume_ids: Vec::new(),
        size: size.to_api(service.regions.iter().map(|r| r.slug.clone()).collect()),
        size_slug: row.size,
        networks: Networks {
            v4: vec![NetworkV4 {
                ip_address: row.address,
                netmask: "255.0.0.0".to_owned(),
                gateway: Some("127.0.0.1".to_owned()),
                kind: "public".to_owned(),
            }],
            v6: Vec::new(),
        },
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
    let report = image_view::report(image)?;
    let acceleration = match service.region(&row.region) {
        Ok(region) => Some(region.hypervisor.acceleration().await),
        Err(_) => None,
    };
    Ok(DropletExtra {
        ssh_port: u16::try_from(row.ssh_port).unwrap_or(22),
        default_user: report
            .as_ref()
            .and_then(|report| report.facts.cloud_init.default_user.as_ref())
            .map(|user| user.value.clone()),
        acceleration: acceleration
            .as_ref()
            .map_or_else(String::new, |a| a.name.to_owned()),
        acceleration_note: acceleration.and_then(|a| a.fallback_reason),
        reason: row.reason.clone(),
        warnings: report.map_or_else(Vec::new, |report| warnings(&report, lang)),
        console: SerialConsole {
            path: format!("/v2/droplets/{}/console", row.id),
            log: format!("/v2/droplets/{}/console/log", row.id),
        },
    })
}

fn warnings(report: &Report, lang: Lang) -> Vec<String> {
    image_view::sentences(&report.findings, lang, &[Outcome::Warning])
}

/// Lists the machines
#[utoipa::path(
    get,
    path = "/v2/droplets",
    tag = "Droplets",
    params(
        Paging,
        Language,
        ("type" = Option<String>, Query, description = "`droplets`; there are none of any other type"),
        ("name" = Option<String>, Query, description = "Only those with exactly this name"),
        ("tag_name" = Option<String>, Query, description = "Only those with this tag"),
    ),
    responses((status = 200, description = "A page of machines", body = DropletList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    paging: Paging,
) -> ApiResult<Json<DropletList>> {
    // There are no machines of any other type.
    let (rows, total) = match paging.filter("type") {
        None | Some("droplets") => {
            let filter = Filter {
                name: paging.filter("name"),
                tag: super::tag::filter(&service, account.id, paging.filter("tag_name")).await?,
                digest: None,
            };
            droplet::list(service.db.read(), account.id, filter, paging.window()).await?
        }
        Some(_) => (Vec::new(), 0),
    };
    let (links, meta) = paging.links(total);
    let droplets = many(&service, rows, lang).await?;
    Ok(Json(DropletList {
        droplets,
        links,
        meta,
    }))
}

/// Shows a machine
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}",
    tag = "Droplets",
    params(PathId, Language),
    responses((status = 200, description = "The machine", body = DropletOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
) -> ApiResult<Json<DropletOne>> {
    let row = droplet::find(service.db.read(), account.id, id).await?;
    let droplet = to_api(&service, row.ok_or_else(ApiError::not_found)?, lang).await?;
    Ok(Json(DropletOne { droplet }))
}

/// Creates one machine or several
///
/// `name` makes one and is answered with `droplet`, `names` make several and are answered with
/// `droplets`. The image must be available in the region, and the size's disk hold it.
#[utoipa::path(
    post,
    path = "/v2/droplets",
    tag = "Droplets",
    params(Language),
    request_body = CreateDroplet,
    responses((status = 202, description = "What is being created", body = CreateDropletAnswer)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    BaseUrl(base): BaseUrl,
    Body(request): Body<CreateDroplet>,
) -> ApiResult<(StatusCode, Json<CreateDropletAnswer>)> {
    let names = names(&request)?;
    check_options(&request)?;
    let size = known_size(&request.size)?;
    let ssh_keys = ssh_keys(&service, account.id, &request.ssh_keys).await?;

    let mut tx = service.db.write().await?;
    let image = usable_image(&mut tx, account.id, &request.image, size).await?;
    let region = usable_region(&service, &image, request.region.as_deref()).await?;
    let wanted = quota::of_machines(size, names.len());
    quota::check(&service.config.quotas, &mut tx, account.id, &wanted).await?;
    let mut rows = Vec::new();
    for name in names {
        let (address, ssh_port) = machine::free_address(&service.config.vm, &mut tx).await?;
        let new = NewDroplet {
            account: account.id,
            name,
            region: &region,
            size: size.slug,
            image: image.id,
            digest: image.digest.as_deref().unwrap_or_default(),
            address: &address.to_string(),
            ssh_port,
            ssh_keys: &db::to_json(&ssh_keys),
            user_data: request.user_data.as_deref(),
        };
        let row = droplet::insert(&mut tx, &new).await?;
        super::tag::set(&mut tx, account.id, Kind::Droplet, row.id, &request.tags).await?;
        let action = insert_action(&mut tx, &row, "create").await?;
        rows.push((row, action.id));
    }
    tx.commit().await?;
    service.announce("droplet");
    let answer = answer(&service, rows, request.name.is_some(), &base, lang).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

async fn answer(
    service: &Service,
    rows: Vec<(DropletRow, i64)>,
    single: bool,
    base: &str,
    lang: Lang,
) -> ApiResult<CreateDropletAnswer> {
    let mut actions = Vec::new();
    let mut created = Vec::new();
    for (row, action) in rows {
        actions.push(CreatedAction {
            id: Id(action),
            rel: "create".to_owned(),
            href: format!("{base}/v2/actions/{action}"),
        });
        created.push(row);
    }
    let mut droplets = many(service, created, lang).await?;
    let links = CreateLinks { actions };
    Ok(if single {
        CreateDropletAnswer {
            droplet: droplets.pop(),
            droplets: None,
            links,
        }
    } else {
        CreateDropletAnswer {
            droplet: None,
            droplets: Some(droplets),
            links,
        }
    })
}

fn names(request: &CreateDroplet) -> ApiResult<Vec<&str>> {
    let names: Vec<&str> = match (&request.name, request.names.as_slice()) {
        (Some(name), []) => vec![name],
        (None, names @ [_, ..]) => names.iter().map(String::as_str).collect(),
        _ => return Err(ApiError::unprocessable("send either `name` or `names`")),
    };
    if names.len() > MAX_NAMES {
        return Err(ApiError::unprocessable(format!(
            "at most {MAX_NAMES} `names` at once"
        )));
    }
    for name in &names {
        let ok = !name.is_empty()
            && name.len() <= 255
            && !name.starts_with(['-', '.'])
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        if !ok {
            return Err(ApiError::unprocessable(
                "a droplet's name may only hold a-z, A-Z, 0-9, . and -, must begin with a letter or digit, and has 1 to 255 characters",
            ));
        }
    }
    Ok(names)
}

/// What the request may carry but cannot have here.
fn check_options(request: &CreateDroplet) -> ApiResult<()> {
    if request
        .user_data
        .as_ref()
        .is_some_and(|data| data.len() > MAX_USER_DATA_BYTES)
    {
        return Err(ApiError::unprocessable(
            "`user_data` may have at most 64 KiB",
        ));
    }
    if !request.volumes.is_empty() {
        return Err(ApiError::unprocessable("`volumes` are not offered here"));
    }
    if request
        .vpc_uuid
        .as_ref()
        .is_some_and(|uuid| !uuid.is_empty())
    {
        return Err(ApiError::unprocessable(
            "there is no VPC with this `vpc_uuid`",
        ));
    }
    Ok(())
}

fn known_size(slug: &str) -> ApiResult<&'static Size> {
    Size::find(slug).ok_or_else(|| {
        ApiError::unprocessable(format!(
            "there is no size `{slug}`; GET /v2/sizes lists them"
        ))
    })
}

async fn ssh_keys(
    service: &Service,
    account: i64,
    wanted: &[IdOrName],
) -> ApiResult<Vec<(String, String)>> {
    let mut keys = Vec::new();
    for which in wanted {
        let row = key::find(service.db.read(), account, which)
            .await?
            .ok_or_else(|| {
                ApiError::unprocessable(format!("there is no SSH key `{which}` in the account"))
            })?;
        keys.push((row.name, row.public_key));
    }
    Ok(keys)
}

async fn usable_image(
    tx: &mut Tx,
    account: i64,
    which: &IdOrName,
    size: &Size,
) -> ApiResult<ImageRow> {
    let missing = || ApiError::unprocessable(format!("there is no image `{which}` in the account"));
    let IdOrName::Id(id) = which else {
        return Err(missing());
    };
    let row = image::find(&mut **tx, account, *id)
        .await?
        .filter(|row| row.deleted_at.is_none())
        .ok_or_else(missing)?;
    match row.stage()? {
        Stage::Available => {}
        Stage::Failed => {
            return Err(ApiError::unprocessable(format!(
                "the import of image {id} failed: {}",
                row.error_message
            )));
        }
        stage => {
            return Err(ApiError::unprocessable(format!(
                "image {id} is not available yet: {}",
                db::word(stage)
            )));
        }
    }
    let virtual_size = row.virtual_bytes.map_or(0, from_sql_size);
    if virtual_size > size.disk_bytes() {
        return Err(ApiError::unprocessable(format!(
            "image {id} needs a disk of {virtual_size} bytes, but size `{}` has {} GB; take a larger size",
            size.slug, size.disk_gb
        )));
    }
    Ok(row)
}

/// The region that was asked for, by slug or the beginning of one, or the image's first.
async fn usable_region(
    service: &Service,
    image: &ImageRow,
    wanted: Option<&str>,
) -> ApiResult<String> {
    let mut available = Vec::new();
    for copy in image::regions(service.db.read(), image.id).await? {
        if copy.status()? == RegionCopyStatus::Available {
            available.push(copy.region);
        }
    }
    let wanted = wanted.unwrap_or("");
    if !service
        .regions
        .iter()
        .any(|region| region.slug.starts_with(wanted))
    {
        return Err(ApiError::unprocessable(format!(
            "there is no region `{wanted}`"
        )));
    }
    let exact = available.iter().find(|slug| *slug == wanted);
    exact
        .or_else(|| available.iter().find(|slug| slug.starts_with(wanted)))
        .cloned()
        .ok_or_else(|| {
            ApiError::unprocessable(format!(
                "image {} is not available in region `{wanted}`; it is in: {}",
                image.id,
                available.join(", ")
            ))
        })
}

/// A new action of a droplet, which a worker may begin at once.
pub async fn insert_action(tx: &mut Tx, row: &DropletRow, kind: &str) -> db::Result<ActionRow> {
    let new = NewAction {
        account: row.account_id,
        kind,
        resource_type: "droplet",
        resource: row.id,
        region: Some(&row.region),
        ready: true,
    };
    db::action::insert(tx, &new).await
}

/// Deletes a machine and its disk
#[utoipa::path(
    delete,
    path = "/v2/droplets/{id}",
    tag = "Droplets",
    params(PathId),
    responses((status = 204, description = "It is gone")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    destroy(&service, account.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hides a droplet from its owner and has it removed from its host.
pub async fn destroy(service: &Service, account: i64, id: i64) -> ApiResult<()> {
    let mut tx = service.db.write().await?;
    let row = droplet::find(&mut *tx, account, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    destroy_row(&mut tx, &row).await?;
    tx.commit().await?;
    service.announce("droplet");
    Ok(())
}

async fn destroy_row(tx: &mut Tx, row: &DropletRow) -> db::Result<()> {
    droplet::delete(tx, row.id).await?;
    tag::unlink_all(tx, Kind::Droplet, row.id).await?;
    insert_action(tx, row, "destroy").await?;
    Ok(())
}

/// Deletes all machines with a tag
#[utoipa::path(
    delete,
    path = "/v2/droplets",
    tag = "Droplets",
    params(("tag_name" = String, Query, description = "The tag")),
    responses(
        (status = 204, description = "They are gone"),
        (status = 422, description = "`tag_name` is missing"),
    ),
)]
pub async fn delete_tagged(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    for row in tagged(&mut tx, account.id, &paging).await? {
        destroy_row(&mut tx, &row).await?;
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok(StatusCode::NO_CONTENT)
}

/// The droplets with the tag `tag_name`, without which nothing is done to several at once.
async fn tagged(tx: &mut Tx, account: i64, paging: &Paging) -> ApiResult<Vec<DropletRow>> {
    let name = paging
        .filter("tag_name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| ApiError::unprocessable("`tag_name` is missing"))?;
    match tag::find(&mut **tx, account, name).await? {
        Some(tag) => Ok(droplet::tagged(tx, account, tag.id).await?),
        None => Ok(Vec::new()),
    }
}

/// Turns a machine on or off
///
/// `type` is `power_on` or `power_off`.
#[utoipa::path(
    post,
    path = "/v2/droplets/{id}/actions",
    tag = "Droplet actions",
    operation_id = "create",
    params(PathId),
    request_body = DropletAction,
    responses((status = 201, description = "The action", body = ActionOne)),
)]
pub async fn act(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    Body(request): Body<DropletAction>,
) -> ApiResult<(StatusCode, Json<ActionOne>)> {
    check_kind(&request)?;
    let mut tx = service.db.write().await?;
    let row = droplet::find(&mut *tx, account.id, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let action = begin(&mut tx, &row, &request.kind).await?;
    tx.commit().await?;
    service.announce("droplet");
    let action = super::action::to_api(&service, action)?;
    Ok((StatusCode::CREATED, Json(ActionOne { action })))
}

/// Turns all machines with a tag on or off
#[utoipa::path(
    post,
    path = "/v2/droplets/actions",
    tag = "Droplet actions",
    operation_id = "create_tagged",
    params(("tag_name" = String, Query, description = "The tag")),
    request_body = DropletAction,
    responses((status = 201, description = "One action for each machine", body = ActionsOfMany)),
)]
pub async fn act_tagged(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
    Body(request): Body<DropletAction>,
) -> ApiResult<(StatusCode, Json<ActionsOfMany>)> {
    check_kind(&request)?;
    let mut tx = service.db.write().await?;
    let mut actions = Vec::new();
    for row in tagged(&mut tx, account.id, &paging).await? {
        let action = begin(&mut tx, &row, &request.kind).await?;
        actions.push(super::action::to_api(&service, action)?);
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok((StatusCode::CREATED, Json(ActionsOfMany { actions })))
}

fn check_kind(request: &DropletAction) -> ApiResult<()> {
    if matches!(request.kind.as_str(), "power_on" | "power_off") {
        return Ok(());
    }
    Err(ApiError::unprocessable(format!(
        "`type` is `{}`; droplets know `power_on` and `power_off`",
        request.kind
    )))
}

/// A new action; starting what runs already is done at once.
async fn begin(tx: &mut Tx, row: &DropletRow, kind: &str) -> ApiResult<ActionRow> {
    let action = insert_action(tx, row, kind).await?;
    if row.status()? == DropletStatus::Active && kind == "power_on" {
        return Ok(db::action::complete(tx, action.id).await?);
    }
    Ok(action)
}

//! `abbild image probe`: has the service boot an image, and shows what becomes of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use abbild_api::{Action, ActionOne, ActionStatus, Image, ImageAction, Probe, ProbeOne};
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::args::ProbeArgs;
use crate::client::Client;
use crate::commands::wait;
use crate::failure::FAILED;
use crate::interrupt::Interrupt;
use crate::names;
use crate::new_file::NewFile;
use crate::print::{self, Style, Table, clean};
use crate::progress::Steps;
use crate::report::View;
use crate::session::Session;

/// Probes the image.
///
/// # Errors
/// If the service refuses or cannot boot the image; not if the image does not boot.
pub fn run(session: &Session, args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image(&client, &args.image)?;
    // Before minutes are spent on what they are for.
    let create = |path: &Path| NewFile::create(path, args.force);
    let log = args.log.as_deref().map(create).transpose()?;
    let screenshot = args.screenshot.as_deref().map(create).transpose()?;
    let body = ImageAction {
        kind: "probe".into(),
        region: args.region.clone(),
        other: serde_json::Map::new(),
    };
    let path = format!("/v2/images/{}/actions", image.id);
    let begun: Action = client.post::<ActionOne>(&path, &body)?.action;
    if args.no_wait {
        session.show(&begun, |out| {
            let name = clean(&image.name);
            writeln!(out, "image {} `{name}` is being booted", image.id)
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    follow(session, &client, &image, begun)?;
    let probe = client.get::<ProbeOne>(&path_of(session, &image))?.probe;
    if let Some(file) = log {
        download(&client, &format!("/v2/images/{}/probe/log", image.id), file)?;
    }
    if let Some(file) = screenshot {
        let path = format!("/v2/images/{}/probe/screenshot", image.id);
        download(&client, &path, file)?;
    }
    show(session, &client, &image, &probe)
}

fn path_of(session: &Session, image: &Image) -> String {
    format!("/v2/images/{}/probe?lang={}", image.id, session.lang)
}

/// Waits for the end of the probe, and says each milestone when it is seen.
fn follow(
    session: &Session,
    client: &Client,
    image: &Image,
    begun: Action,
) -> anyhow::Result<Action> {
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    steps.step("booting");
    let mut said = 0;
    let path = format!("/v2/actions/{}", begun.id);
    let mut ended = Some(begun).filter(|action| action.status != ActionStatus::InProgress);
    if ended.is_none() {
        let answer = wait::until::<ActionOne>(client, &path, &interrupt, |answer| {
            // Until the machine starts there is nothing, or an earlier probe.
            if let Ok(ProbeOne { probe }) = client.get(&path_of(session, image))
                && probe.action_id == answer.action.id
            {
                said += say(&steps, &probe, said);
            }
            steps.tick();
            answer.action.status != ActionStatus::InProgress
        })?;
        ended = answer.map(|answer| answer.action);
    }
    let hint = "the probe goes on; `abbild image report` shows what it proves";
    wait::completed(ended, "the probe failed", hint)
}

/// Says all milestones but the first `said`, and how many these are.
fn say(steps: &Steps, probe: &Probe, said: usize) -> usize {
    let new = probe.milestones.iter().skip(said);
    new.map(|milestone| {
        let title = clean(&milestone.title);
        steps.note(&format!("{:>6.1} s  {title}", milestone.seconds));
    })
    .count()
}

fn download(client: &Client, path: &str, new: NewFile) -> anyhow::Result<()> {
    let mut body = client.get_stream(path)?;
    io::copy(&mut body, &mut new.file()).context("writing what the service sends")?;
    new.publish(true)
}

fn show(
    session: &Session,
    client: &Client,
    image: &Image,
    probe: &Probe,
) -> anyhow::Result<ExitCode> {
    let path = format!("/v2/images/{}/report?lang={}", image.id, session.lang);
    let report: Value = client.get(&path)?;
    let findings: Vec<&Value> = report["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["basis"] == "proven")
        .collect();
    let json = json!({ "probe": probe, "findings": findings });
    let view: View = serde_json::from_value(report.clone()).context("reading the report")?;
    session.show(&json, |out| {
        write(out, image, probe)?;
        view.write_proven(out, Style::stdout(), print::width())
    })?;
    Ok(match view.is_disproved() {
        false => ExitCode::SUCCESS,
        true => ExitCode::from(FAILED),
    })
}

/// The machine, how far it came, and what it left.
fn write(out: &mut dyn Write, image: &Image, probe: &Probe) -> io::Result<()> {
    let end = probe.end_text.as_deref().unwrap_or_default();
    let mut fields = vec![
        ("image", format!("{} `{}`", image.id, image.name)),
        ("region", probe.region.clone()),
        ("acceleration", probe.acceleration.clone()),
        ("end", format!("{end} ({:.1} s)", probe.seconds)),
    ];
    if let Some(traces) = &probe.traces {
        let key = match (&traces.user, traces.key) {
            (Some(user), true) => format!("{user} has the key"),
            (Some(user), false) => format!("{user} does not have the key"),
            (None, _) => "nobody has the key".to_owned(),
        };
        fields.push(("data source", traces.datasource.clone().unwrap_or_default()));
        fields.push(("account", key));
        fields.extend(traces.errors.iter().map(|error| ("error", error.clone())));
    }
    print::fields(out, &fields)?;
    if probe.milestones.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(["SECONDS", "MILESTONE", "SEEN"]);
    for milestone in &probe.milestones {
        let text: String = milestone.text.chars().take(SEEN).collect();
        let line = milestone.line.map(|line| format!("{line}: "));
        table.row([
            format!("{:>7.1}", milestone.seconds),
            milestone.title.clone(),
            format!("{}{text}", line.unwrap_or_default()),
        ]);
    }
    table.write(out)
}

/// Characters of a line that identify it.
const SEEN: usize = 60;

//! An S3 server for tests of the whole binary (`tests/crash`): that of the integration tests, as a
//! process of its own.
//!
//! It prints a line of JSON: for each bucket its settings (TOML for `[regions.s3]`) and its directory.
//! Then it reads moods, one a line: `well`, `erring` (503 to everything), `stalling` (no answer to
//! anything new). It ends with its input.

// The integration tests need more of it.
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../tests/it/s3.rs"]
mod s3;

use std::io::{self, BufRead as _};

use s3::{Mood, S3};
use serde_json::{Map, json};

fn main() -> anyhow::Result<()> {
    let server = S3::start();
    let bucket = |name: &str| {
        let directory = server.bucket(name);
        (
            name.to_owned(),
            json!({"settings": server.text(name), "directory": directory}),
        )
    };
    println!("{}", json!(Map::from_iter(["hal1", "nbg1"].map(bucket))));
    for mood in io::stdin().lock().lines() {
        server.set_mood(match mood?.as_str() {
            "well" => Mood::Well,
            "erring" => Mood::Erring,
            "stalling" => Mood::Stalling,
            other => anyhow::bail!("there is no mood `{other}`"),
        });
    }
    Ok(())
}

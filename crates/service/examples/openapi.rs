//! Writes the description of the HTTP API: `cargo run -p abbild-service --example openapi >
//! docs/openapi.json`.

fn main() -> anyhow::Result<()> {
    println!("{}", abbild_service::openapi()?);
    Ok(())
}

//! Writes the API's description to standard output; `cargo xtask openapi` keeps it in `openapi.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().lock().write_all(fleetward_front_rest::openapi::text().as_bytes())
}

//! `wardctl claim-code`: codes that lie in the box with a device.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use qrcode::render::{svg, unicode};
use qrcode::{EcLevel, QrCode};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("KIND", "/kind"),
    ("FOR", "/subject"),
    ("STATE", "/state"),
    ("USED BY", "/used_by"),
    ("EXPIRES", "/expires_at"),
];
/// Pixels of one module of a QR code in a PNG, and the empty modules around it (ISO/IEC 18004 asks for four).
const SCALE: usize = 8;
const QUIET: usize = 4;

#[derive(Debug, Subcommand)]
pub(crate) enum ClaimCode {
    /// Make a code for one device and show it as a QR code
    Create {
        /// The device's name, as its certificate says it
        #[arg(required_unless_present = "serial", conflicts_with = "serial")]
        device: Option<String>,
        /// The serial number in its certificate's subject
        #[arg(long)]
        serial: Option<String>,
        /// How long it holds: seconds, or with s, m, h or d; two years otherwise
        #[arg(long, value_parser = super::seconds)]
        ttl: Option<u64>,
        /// Write the QR code here, as SVG or PNG by the file's ending
        #[arg(long)]
        qr: Option<PathBuf>,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Revoke {
        id: String,
    },
    /// Claim the device that a code lies with
    Use {
        /// Blanks, dashes and case do not matter; what a QR code says is good too
        code: String,
    },
}

impl ClaimCode {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { device, serial, ttl, qr } => {
                let body = super::object([
                    ("device", device.map(|device| json!(device))),
                    ("serial", serial.map(|serial| json!(serial))),
                    ("ttl_s", ttl.map(|ttl| json!(ttl))),
                ]);
                let made = session.client.post(&session.path(&["claim-codes"]).await?, &body).await?.value;
                let text = |key: &str| output::cell(made.get(key));
                let code = QrCode::with_error_correction_level(text("uri"), EcLevel::M)
                    .map_err(|error| Failure::other(format!("no QR code could be made: {error}")))?;
                if let Some(file) = &qr {
                    write_qr(&code, file)?;
                }
                if session.out == Format::Json {
                    return output::json(&made);
                }
                output::note(&code.render::<unicode::Dense1x2>().build());
                output::note(&format!("Until {}. Shown only now:", text("expires_at")));
                output::line(&text("code"))
            }
            Self::List { limit } => {
                let path = session.path(&["claim-codes"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Revoke { id } => {
                session.client.delete(&session.path(&["claim-codes", &id]).await?, Some("*")).await?;
                session.out.done(&format!("{id} revoked"))
            }
            Self::Use { code } => {
                let path = session.path(&["device-claims"]).await?;
                session.out.one(&session.client.post(&path, &json!({ "code": plain(&code) })).await?.value)
            }
        }
    }
}

/// The code within what a QR code says; anything else as it is.
fn plain(text: &str) -> &str {
    let query = text.strip_prefix("fleetward:claim?").unwrap_or_default();
    query.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap_or(text)
}

fn write_qr(code: &QrCode, file: &Path) -> Result<(), Failure> {
    let bytes = match file.extension().and_then(|end| end.to_str()) {
        Some("svg") => code.render::<svg::Color<'_>>().min_dimensions(256, 256).build().into_bytes(),
        Some("png") => png(code)?,
        _ => return Err(Failure::usage(format!("{}: the ending must be .svg or .png", file.display()))),
    };
    std::fs::write(file, bytes).map_err(|error| Failure::other(format!("cannot write {}: {error}", file.display())))
}

/// One byte of grey for each pixel.
fn png(code: &QrCode) -> Result<Vec<u8>, Failure> {
    let modules = code.width();
    let side = (modules + 2 * QUIET) * SCALE;
    let mut pixels = vec![0xff; side * side];
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == qrcode::Color::Light {
            continue;
        }
        let (left, top) = ((at % modules + QUIET) * SCALE, (at / modules + QUIET) * SCALE);
        for row in top..top + SCALE {
            if let Some(dark) = pixels.get_mut(row * side + left..row * side + left + SCALE) {
                dark.fill(0);
            }
        }
    }
    let mut bytes = Vec::new();
    let pixels_wide = u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut bytes, pixels_wide, pixels_wide);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels))
        .map_err(|error| Failure::other(format!("no PNG could be made: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_in_what_a_qr_code_says() {
        assert_eq!(plain("fleetward:claim?tenant=acme&code=7KQ3-0M9T"), "7KQ3-0M9T");
        assert_eq!(plain("7KQ3 0M9T"), "7KQ3 0M9T");
    }

    #[test]
    fn qr_codes_are_written_by_their_ending() {
        let folder = tempfile::tempdir().expect("a folder");
        let code = QrCode::new("fleetward:claim?tenant=acme&code=7KQ3").expect("a code");
        for (name, begins) in [("a.svg", b"<?xml".as_slice()), ("a.png", b"\x89PNG")] {
            let file = folder.path().join(name);
            write_qr(&code, &file).expect("written");
            assert!(std::fs::read(file).expect("bytes").starts_with(begins), "{name}");
        }
        assert!(write_qr(&code, &folder.path().join("a.gif")).is_err());
    }
}

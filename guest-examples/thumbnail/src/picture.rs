//! The copying itself: pure functions from bytes to bytes.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

/// What one picture may take while it is decoded: a small file may claim any
/// size, and refusing it here names the reason.
const MAX_DECODED: u64 = 256 << 20;

/// A PNG of the picture that fits the box.
pub fn thumbnail(picture: &[u8], width: u32, height: u32) -> Result<Vec<u8>, String> {
    let original = decode(picture)?;
    let fits = original.width() <= width && original.height() <= height;
    let small = if fits { original } else { original.resize(width, height, FilterType::Triangle) };
    let mut png = Cursor::new(Vec::new());
    small.write_to(&mut png, ImageFormat::Png).map_err(|e| format!("the copy cannot be written: {e}"))?;
    Ok(png.into_inner())
}

fn decode(picture: &[u8]) -> Result<DynamicImage, String> {
    let reader = ImageReader::new(Cursor::new(picture)).with_guessed_format();
    let mut reader = reader.map_err(|e| format!("the picture cannot be read: {e}"))?;
    let Some(format) = reader.format() else {
        return Err(format!("not a PNG or JPEG picture ({} bytes, beginning with {})", picture.len(), head(picture)));
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    reader.decode().map_err(|e| format!("broken {} picture of {} bytes: {e}", name(format), picture.len()))
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "unsupported",
    }
}

/// The first bytes in hexadecimal: what people look up to learn what a file is.
fn head(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

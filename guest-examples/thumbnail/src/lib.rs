//! A component that makes small copies of pictures with the `image` crate.
//!
//! Pictures come from anywhere, so the decoder is exactly the kind of code that
//! one wants in a sandbox: a broken picture is an `error` of its own item, and a
//! decoder's bug at worst a `trap`.

mod picture;

wit_bindgen::generate!({ world: "thumbnail", path: "../../wit/examples" });

/// The box that `run` fits a picture into, in pixels.
const SIDE: u32 = 128;

struct Thumbnail;

impl Guest for Thumbnail {
    fn run(picture: Vec<u8>) -> Result<Vec<u8>, String> {
        picture::thumbnail(&picture, SIDE, SIDE)
    }

    fn fit(picture: Vec<u8>, width: u32, height: u32) -> Result<Vec<u8>, String> {
        if width == 0 || height == 0 {
            return Err(format!("a size of {width} x {height} pixels has no room for a picture"));
        }
        picture::thumbnail(&picture, width, height)
    }
}

export!(Thumbnail);

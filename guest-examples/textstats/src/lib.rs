//! A component that measures texts: counts, frequent words, readability.
//!
//! The same source builds for `wasm32-wasip2` (a component as it is) and for
//! `wasm32-wasip1` (a core module that carries its WIT in a custom section, of
//! which the pool makes a component).

mod measure;

wit_bindgen::generate!({ world: "textstats", path: "../../wit/examples" });

/// How many of the most frequent words are reported unless the item says.
const TOP_COUNT: usize = 3;

struct Textstats;

impl Guest for Textstats {
    fn run(text: String) -> Stats {
        measure::stats(&text, TOP_COUNT)
    }

    fn analyze_document(doc: Document) -> Result<Report, String> {
        let top_count = doc.top_count.map_or(TOP_COUNT, |count| count as usize);
        let stats = measure::stats(&doc.text, top_count);
        if stats.words == 0 {
            return Err(format!("the document {:?} has no words", doc.title));
        }
        Ok(Report { title: doc.title, stats })
    }
}

export!(Textstats);

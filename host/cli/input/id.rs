//! `--id FIELD`: a scalar out of an item, as its JSON text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of a field of a JSON object, where it is there and is neither an
/// object nor an array.
pub(crate) fn scalar(json: &[u8], field: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let text = Find(field).deserialize(&mut reader).ok()??;
    (!text.starts_with(['{', '['])).then(|| text.to_owned())
}

/// Looks for a field; the first of several with one name counts.
struct Find<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Key(key)) = map.next_key()? {
            if found.is_none() && key == self.0 {
                found = Some(map.next_value::<&'de RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A key, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_copied_as_they_stand() {
        let item = br#"{"a":{"id":0},"id" : 1.50 ,"n\u0061me":"x\"y","none":null}"#;
        assert_eq!(scalar(item, "id").as_deref(), Some("1.50"));
        assert_eq!(scalar(item, "name").as_deref(), Some(r#""x\"y""#));
        assert_eq!(scalar(item, "none").as_deref(), Some("null"));
    }

    #[test]
    fn anything_else_gives_no_id() {
        for item in [&b"[1]"[..], b"{\"id\":[1]}", b"{\"id\":{}}", b"{\"other\":1}", b"7", b"\"id\"", b""] {
            assert_eq!(scalar(item, "id"), None);
        }
    }
}

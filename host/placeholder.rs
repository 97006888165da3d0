//! Placeholders, one set for guest arguments and output patterns: `{}` the
//! item, `{index}`, `{id}`, `{1}` `{2}` … the elements of an array, and for
//! files `{name}`, `{stem}`, `{path}`.
//!
//! Replaced once, also inside longer text; all other braces stand for
//! themselves. Pure text: what the result may be used for is the caller's.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;

use crate::scan::{Scanner, Step, spaces};

/// What can be put into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `{}`: the item, or the whole path of an item that is a file.
    Item,
    /// `{index}`: its position in the input.
    Index,
    /// `{id}`: the scalar that `--id` copied.
    Id,
    /// `{1}`, `{2}`, …: an element of an item that is an array.
    Element(NonZeroUsize),
    /// `{name}`: a file's name with its extension.
    Name,
    /// `{stem}`: a file's name without its extension.
    Stem,
    /// `{path}`: a file's path below the fixed prefix of its glob.
    Path,
}

impl Placeholder {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::Item,
            "index" => Self::Index,
            "id" => Self::Id,
            "name" => Self::Name,
            "stem" => Self::Stem,
            "path" => Self::Path,
            _ if name.starts_with(|first: char| first.is_ascii_digit()) && !name.starts_with('0') => {
                Self::Element(name.parse().ok()?)
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item => f.write_str("{}"),
            Self::Index => f.write_str("{index}"),
            Self::Id => f.write_str("{id}"),
            Self::Element(number) => write!(f, "{{{number}}}"),
            Self::Name => f.write_str("{name}"),
            Self::Stem => f.write_str("{stem}"),
            Self::Path => f.write_str("{path}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Slot(Placeholder),
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// What one item offers to placeholders; looked into only as far as a
/// template asks.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Its position in the input.
    pub index: u64,
    /// Its content.
    pub item: Content<'a>,
    /// The scalar that `--id` copied out of it, as JSON text.
    pub id: Option<&'a str>,
    /// Its names, where it is a file.
    pub file: Option<FileName<'a>>,
}

/// The bytes of an item.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// One JSON value: a string stands for its characters, all else for its
    /// own text.
    Json(&'a [u8]),
    /// A line, or anything else to be taken as it is.
    Raw(&'a [u8]),
}

/// The names of an item that is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    /// Its path as the input gave it.
    pub full: &'a str,
    /// Its path below the fixed prefix of the glob.
    pub below: &'a str,
}

/// Why an item has nothing for a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// `{id}` without an id.
    #[error("the item has no field that --id names, which {{id}} stands for")]
    Id,
    /// `{1}` and so on without that element.
    #[error("the item is no array of {0} elements or more, which {{{0}}} asks for")]
    Element(NonZeroUsize),
    /// `{name}`, `{stem}` or `{path}` of an item that is no file.
    #[error("the item is no file, which {{name}}, {{stem}} and {{path}} ask for")]
    File,
    /// Text is asked for and the item is none.
    #[error("the item is not UTF-8 text")]
    Text,
}

impl Template {
    /// Reads a text; every text is a template, at least of itself.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            literal.push_str(&rest[..open]);
            let inside = &rest[open + 1..];
            let slot = inside
                .find(['}', '{'])
                .filter(|end| inside.as_bytes()[*end] == b'}')
                .and_then(|end| Some((Placeholder::parse(&inside[..end])?, &inside[end + 1..])));
            if let Some((placeholder, after)) = slot {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Slot(placeholder));
                rest = after;
            } else {
                literal.push('{');
                rest = inside;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Self { parts }
    }

    /// The placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Slot(placeholder) => Some(*placeholder),
            Part::Text(_) => None,
        })
    }

    /// Whether there is no placeholder.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.placeholders().next().is_none()
    }

    /// Whether the item's own bytes are needed: `{}` or `{1}` and so on.
    #[must_use]
    pub fn uses_item(&self) -> bool {
        self.placeholders().any(|slot| matches!(slot, Placeholder::Item | Placeholder::Element(_)))
    }

    /// Whether `{index}` is there.
    #[must_use]
    pub fn uses_index(&self) -> bool {
        self.placeholders().any(|slot| slot == Placeholder::Index)
    }

    /// Whether `{id}` is there.
    #[must_use]
    pub fn uses_id(&self) -> bool {
        self.placeholders().any(|slot| slot == Placeholder::Id)
    }

    /// Whether `{name}`, `{stem}` or `{path}` is there.
    #[must_use]
    pub fn uses_file(&self) -> bool {
        self.placeholders().any(|slot| matches!(slot, Placeholder::Name | Placeholder::Stem | Placeholder::Path))
    }

    /// The text before the first placeholder.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The text with its placeholders replaced.
    ///
    /// # Errors
    /// [`Missing`] when the item has nothing for one of them.
    pub fn render(&self, values: &Values<'_>) -> Result<String, Missing> {
        let mut rendered = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Slot(placeholder) => rendered.push_str(&values.text(*placeholder)?),
            }
        }
        Ok(rendered)
    }
}

impl Values<'_> {
    fn text(&self, placeholder: Placeholder) -> Result<Cow<'_, str>, Missing> {
        match placeholder {
            Placeholder::Index => Ok(Cow::Owned(self.index.to_string())),
            Placeholder::Id => characters(self.id.ok_or(Missing::Id)?.as_bytes()).ok_or(Missing::Id),
            Placeholder::Name => Ok(Cow::Borrowed(name(self.file()?.below))),
            Placeholder::Stem => Ok(Cow::Borrowed(stem(name(self.file()?.below)))),
            Placeholder::Path => Ok(Cow::Borrowed(self.file()?.below)),
            Placeholder::Item => match (self.file, self.item) {
                (Some(file), _) => Ok(Cow::Borrowed(file.full)),
                (None, Content::Json(json)) => characters(json).ok_or(Missing::Text),
                (None, Content::Raw(bytes)) => std::str::from_utf8(bytes).map(Cow::Borrowed).or(Err(Missing::Text)),
            },
            Placeholder::Element(number) => match self.item {
                Content::Json(json) => {
                    let element = element(json, number.get()).ok_or(Missing::Element(number))?;
                    characters(element).ok_or(Missing::Text)
                }
                Content::Raw(_) => Err(Missing::Element(number)),
            },
        }
    }

    fn file(&self) -> Result<FileName<'_>, Missing> {
        self.file.ok_or(Missing::File)
    }
}

/// The characters of a JSON string, or the text of another value.
fn characters(json: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(json).ok()?.trim_ascii();
    if text.starts_with('"') { serde_json::from_str(text).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(text)) }
}

/// The text of an array's element, counted from 1.
fn element(json: &[u8], number: usize) -> Option<&[u8]> {
    let mut rest = json.trim_ascii().strip_prefix(b"[")?;
    let mut scanner = Scanner::default();
    for position in 1.. {
        rest = &rest[spaces(rest)..];
        scanner.begin();
        let Step::End(end) = scanner.feed(rest) else { return None };
        if position == number {
            return Some(&rest[..end]);
        }
        rest = &rest[end..];
        rest = rest[spaces(rest)..].strip_prefix(b",")?;
    }
    None
}

fn name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn stem(name: &str) -> &str {
    match name.rfind('.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, item: Content<'_>) -> Result<String, Missing> {
        let values = Values { index: 7, item, id: Some("\"a b\""), file: None };
        Template::parse(text).render(&values)
    }

    fn render_file(text: &str, below: &str) -> String {
        let full = format!("imgs/{below}");
        let file = Some(FileName { full: &full, below });
        Template::parse(text).render(&Values { index: 0, item: Content::Raw(b"\xff"), id: None, file }).unwrap()
    }

    #[test]
    fn a_string_item_stands_for_its_characters_and_others_for_their_text() {
        assert_eq!(render("<{}>", Content::Json(br#""a\n\u00e9""#)).unwrap(), "<a\né>");
        assert_eq!(render("{}", Content::Json(b"{\"a\": 1}")).unwrap(), "{\"a\": 1}");
        assert_eq!(render("{}", Content::Raw(b"\"as is\"")).unwrap(), "\"as is\"");
    }

    #[test]
    fn placeholders_are_replaced_inside_longer_text() {
        assert_eq!(render("n={index},id={id};{}{}", Content::Json(b"1.50")).unwrap(), "n=7,id=a b;1.501.50");
    }

    #[test]
    fn what_was_put_in_is_not_replaced_again() {
        assert_eq!(render("{}", Content::Raw(b"{index}{}")).unwrap(), "{index}{}");
    }

    #[test]
    fn other_braces_stand_for_themselves() {
        for text in ["{0}", "{01}", "{ }", "{nope}", "{", "}{", "{{", "{\"a\":1}", "{-1}", "{99999999999999999999}"] {
            assert_eq!(render(text, Content::Json(b"[1]")).unwrap(), text);
        }
        assert_eq!(render("{{}}", Content::Json(b"5")).unwrap(), "{5}");
    }

    #[test]
    fn elements_of_an_array_are_counted_from_one() {
        let item = Content::Json(br#" [ "x y" , [1, "]"],{"a":"\\"} ,null] "#);
        assert_eq!(render("{1}|{2}|{3}|{4}", item).unwrap(), r#"x y|[1, "]"]|{"a":"\\"}|null"#);
        let five = NonZeroUsize::new(5).unwrap();
        assert_eq!(render("{5}", item), Err(Missing::Element(five)));
        assert_eq!(render("{5}", Content::Json(b"[]")), Err(Missing::Element(five)));
        assert_eq!(render("{5}", Content::Json(b"{}")), Err(Missing::Element(five)));
    }

    #[test]
    fn files_have_names_stems_and_paths() {
        assert_eq!(
            render_file("{}|{path}|{name}|{stem}", "sub/a.tar.gz"),
            "imgs/sub/a.tar.gz|sub/a.tar.gz|a.tar.gz|a.tar"
        );
        assert_eq!(render_file("{stem}", ".profile"), ".profile");
        assert_eq!(render("{name}", Content::Json(b"1")), Err(Missing::File));
    }

    #[test]
    fn a_template_tells_what_it_needs() {
        let template = Template::parse("out/{index}/{id}.json");
        assert!(template.uses_index() && template.uses_id() && !template.uses_item() && !template.uses_file());
        assert_eq!(template.literal_prefix(), "out/");
        assert!(Template::parse("{2}").uses_item() && Template::parse("{stem}").uses_file());
        assert!(Template::parse("{x}").is_literal());
    }
}

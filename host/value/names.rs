//! Names that people write, found among the names of a type: exactly, or as
//! another convention writes them, or at least with a suggestion.

use super::ValueError;

/// Finds `name` among `names`: exactly, else with `_`, a space or a capital
/// letter (`maxWidth`) for each `-`.
pub fn find<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> Option<usize> {
    names.clone().position(|candidate| candidate == name).or_else(|| {
        let kebab = to_kebab(name);
        names.clone().position(|candidate| candidate.eq_ignore_ascii_case(&kebab))
    })
}

fn to_kebab(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for letter in name.chars() {
        match letter {
            '_' | ' ' => kebab.push('-'),
            'A'..='Z' if after_small => kebab.extend(['-', letter.to_ascii_lowercase()]),
            _ => kebab.push(letter),
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    kebab
}

/// The error for a name that is not there, with the nearest one that is.
pub fn unknown<'n>(what: &str, name: &str, names: impl Iterator<Item = &'n str> + Clone) -> ValueError {
    let shown = super::number::shorten(name);
    let message = match nearest(&shown, names.clone()) {
        Some(near) => format!("unknown {what} {shown:?}; did you mean {near:?}?"),
        None => format!("unknown {what} {shown:?}; there is {}", list(names)),
    };
    ValueError::new(message)
}

fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const ALIKE: f64 = 0.7;
    names
        .take(1000)
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// Names for a message: all, or the first few.
pub fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.peekable();
    let mut text = String::new();
    for position in 0..SHOWN {
        let Some(name) = names.next() else { break };
        text.push_str(if position == 0 { "" } else { ", " });
        text.push_str(&format!("{name:?}"));
    }
    match (text.is_empty(), names.peek()) {
        (true, _) => "none".to_owned(),
        (false, Some(_)) => text + ", …",
        (false, None) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["max-width", "height", "URL-path"];

    #[test]
    fn other_conventions_find_the_wit_name() {
        for name in ["max-width", "max_width", "max width", "maxWidth", "MaxWidth"] {
            assert_eq!(find(name, NAMES.into_iter()), Some(0), "{name}");
        }
        assert_eq!(find("url_path", NAMES.into_iter()), Some(2));
        assert_eq!(find("maxwidth", NAMES.into_iter()), None);
    }

    #[test]
    fn a_typo_gets_the_nearest_name() {
        let error = unknown("field", "heigth", NAMES.into_iter());
        assert_eq!(error.message, "unknown field \"heigth\"; did you mean \"height\"?");
        let error = unknown("field", "q", NAMES.into_iter());
        assert_eq!(error.message, "unknown field \"q\"; there is \"max-width\", \"height\", \"URL-path\"");
    }
}

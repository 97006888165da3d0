//! Guest text made fit for people's eyes: what could move a cursor, forge a
//! line or turn text around is shown as `\x..` or `\u{..}`, and length is cut.
//!
//! Used wherever text of a guest, of a module or of an input reaches a
//! terminal or a log. JSON strings have their own escapes.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How much text a message shows unless its printer says otherwise, in bytes.
pub const SHOWN: usize = 4096;

/// How much of a name a message shows, in bytes.
pub const NAME: usize = 400;

/// A name on one line; `""` where it is empty.
#[must_use]
pub fn name(text: &str) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { escape(text.as_bytes(), NAME) }
}

/// A path on one line.
#[must_use]
pub fn path(path: &Path) -> String {
    escape(path.as_os_str().as_bytes(), SHOWN)
}

/// The text on one line, its first `max` bytes at most, with a mark where it
/// was cut.
#[must_use]
pub fn escape(text: &[u8], max: usize) -> String {
    let kept = &text[..boundary_before(text, max)];
    let mut shown = String::with_capacity(kept.len() + 24);
    put(&mut shown, kept, put_control);
    if kept.len() < text.len() {
        // Writing to a string cannot fail.
        let _ = write!(shown, "… ({} more bytes)", text.len() - kept.len());
    }
    shown
}

/// The text with its line breaks kept, each line after `indent`; its last
/// `max` bytes at most, because the end of what a program printed is what
/// tells why it stopped. Ends without a line break; empty for no text.
#[must_use]
pub fn escape_lines(text: &[u8], indent: &str, max: usize) -> String {
    let from = boundary_after(text, text.len().saturating_sub(max));
    let kept = &text[from..];
    let kept = kept.strip_suffix(b"\n").unwrap_or(kept);
    if text.is_empty() {
        return String::new();
    }
    let mut shown = String::with_capacity(kept.len() + 64);
    shown.push_str(indent);
    if from > 0 {
        // Writing to a string cannot fail.
        let _ = write!(shown, "({from} bytes before) …");
    }
    put(&mut shown, kept, |out, control| {
        if control == '\n' {
            out.push('\n');
            out.push_str(indent);
        } else if control != '\r' {
            put_control(out, control);
        }
    });
    shown
}

/// Whether a character is shown by its number: controls, and what reorders or
/// hides text.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn put(out: &mut String, text: &[u8], mut control: impl FnMut(&mut String, char)) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_unsafe(character) {
                control(out, character);
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

fn put_control(out: &mut String, character: char) {
    let code = u32::from(character);
    // Writing to a string cannot fail.
    let _ = match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        _ if character.is_ascii() => write!(out, "\\x{code:02x}"),
        _ => write!(out, "\\u{{{code:x}}}"),
    };
}

/// The largest cut at or below `max` that does not split a character.
fn boundary_before(text: &[u8], max: usize) -> usize {
    if max >= text.len() {
        return text.len();
    }
    (max.saturating_sub(3)..=max).rev().find(|at| is_boundary(text[*at])).unwrap_or(max)
}

/// The smallest cut at or above `min` that does not split a character.
fn boundary_after(text: &[u8], min: usize) -> usize {
    (min..text.len().min(min + 4)).find(|at| is_boundary(text[*at])).unwrap_or(min)
}

fn is_boundary(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_script_is_left_alone() {
        assert_eq!(escape("naïve 日本 🙂 \\d".as_bytes(), SHOWN), "naïve 日本 🙂 \\d");
    }

    #[test]
    fn an_empty_name_can_be_seen() {
        assert_eq!((name("").as_str(), name("a\n").as_str()), ("\"\"", "a\\n"));
        assert_eq!(path(Path::new("in/\u{1b}.txt")), "in/\\x1b.txt");
    }

    #[test]
    fn terminal_sequences_and_line_breaks_are_shown_by_number() {
        assert_eq!(escape(b"\x1b]0;pwn\x07\r\n\0\x7f", SHOWN), "\\x1b]0;pwn\\x07\\r\\n\\x00\\x7f");
    }

    #[test]
    fn eight_bit_controls_and_bidi_marks_are_shown_by_number() {
        assert_eq!(escape("a\u{9b}b\u{202e}c\u{2066}".as_bytes(), SHOWN), "a\\u{9b}b\\u{202e}c\\u{2066}");
    }

    #[test]
    fn invalid_utf8_is_shown_as_bytes() {
        assert_eq!(escape(b"a\xff\xc3", SHOWN), "a\\xff\\xc3");
    }

    #[test]
    fn long_text_is_cut_between_characters_with_a_mark() {
        assert_eq!(escape("aéé".as_bytes(), 4), "aé… (2 more bytes)");
        assert_eq!(escape(&[0x80; 10], 4), "\\x80\\x80\\x80\\x80… (6 more bytes)");
    }

    #[test]
    fn lines_are_kept_and_indented_but_cannot_forge_a_line_of_ours() {
        assert_eq!(escape_lines(b"one\r\ntwo\x1b[2J\n", "  | ", SHOWN), "  | one\n  | two\\x1b[2J");
    }

    #[test]
    fn of_long_output_the_end_is_shown() {
        assert_eq!(escape_lines("ééb".as_bytes(), "> ", 2), "> (4 bytes before) …b");
        assert_eq!(escape_lines(b"", "> ", 2), "");
    }
}

//! The tokens of JSON text, read from a slice without building a tree.
//!
//! Written by hand because integers must stay exact, positions must be known
//! for errors, and a variant's payload may stand before its tag.

use std::borrow::Cow;
use std::str::Utf8Error;

use super::ValueError;
use crate::scan;

/// Containers may be nested this deep where no type bounds the depth.
pub const MAX_DEPTH: usize = 128;

/// So many digits fit an `i64` whatever they are.
const MAX_SHORT: usize = 18;

/// A place in JSON text.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    /// All of the text, if it is known to be UTF-8.
    utf8: Option<&'a str>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, utf8: None, at: 0 }
    }

    /// The beginning of `text`, of which all is checked for UTF-8 at once, not
    /// each string by itself.
    pub fn checked(text: &'a [u8]) -> Self {
        Self { text, utf8: std::str::from_utf8(text).ok(), at: 0 }
    }

    /// The characters since `start`.
    fn characters(&self, start: usize) -> Result<&'a str, Utf8Error> {
        match self.utf8.and_then(|text| text.get(start..self.at)) {
            Some(characters) => Ok(characters),
            None => std::str::from_utf8(self.since(start)),
        }
    }

    /// The bytes since `start`.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.text[start..self.at]
    }

    /// The current position.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, which is passed over.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Passes over `byte` if it comes next.
    pub fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Passes over `byte`, which must come next.
    pub fn expect(&mut self, byte: u8) -> Result<(), ValueError> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", char::from(byte)))) }
    }

    /// Checks that only white space is left.
    pub fn end(&mut self) -> Result<(), ValueError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// The error for a byte that cannot stand here.
    pub fn unexpected(&mut self, wanted: &str) -> ValueError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(byte) => format!("`{}`", byte.escape_ascii()),
        };
        self.broken(&format!("expected {wanted}, found {found}"))
    }

    fn broken(&self, what: &str) -> ValueError {
        ValueError::new(format!("not JSON: {what} at byte {}", self.at))
    }

    /// Passes over the next byte that is not white space.
    pub fn next(&mut self) -> Option<u8> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    /// Passes over a string that is written as exactly `"name"`, if it comes
    /// next.
    pub fn take_string(&mut self, name: &str) -> bool {
        if self.peek() != Some(b'"') {
            return false;
        }
        let rest = &self.text[self.at + 1..];
        let comes = rest.get(name.len()) == Some(&b'"') && rest.starts_with(name.as_bytes());
        self.at += if comes { name.len() + 2 } else { 0 };
        comes
    }

    /// Passes over a whole number that is written plainly, with at most 18
    /// digits; anything else is left where it is.
    pub fn short_integer(&mut self) -> Option<i64> {
        self.peek();
        let text = &self.text[self.at..];
        let negative = text.first() == Some(&b'-');
        let digits = &text[usize::from(negative)..];
        let mut number = 0;
        let mut count = 0;
        while let Some(digit) = digits.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if count == MAX_SHORT {
                return None;
            }
            number = number * 10 + i64::from(digit);
            count += 1;
        }
        let odd = count == 0 || digits[0] == b'0' && count > 1;
        if odd || matches!(digits.get(count), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += usize::from(negative) + count;
        Some(if negative { -number } else { number })
    }

    /// Passes over `null`, `true` or `false`.
    pub fn literal(&mut self, word: &str) -> Result<(), ValueError> {
        self.peek();
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.broken(&format!("expected `{word}`")));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a number; its text is plain ASCII.
    pub fn number(&mut self) -> Result<&'a str, ValueError> {
        self.peek();
        let start = self.at;
        self.at += usize::from(self.text.get(self.at) == Some(&b'-'));
        let leading_zero = self.text.get(self.at) == Some(&b'0');
        let whole = self.digits()?;
        if leading_zero && whole > 1 {
            return Err(self.broken("a number begins with 0"));
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.text.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        self.characters(start).map_err(|_| self.broken("bad number"))
    }

    fn digits(&mut self) -> Result<usize, ValueError> {
        let count = scan::digits(&self.text[self.at..]);
        self.at += count;
        if count == 0 { Err(self.broken("expected a digit")) } else { Ok(count) }
    }

    /// Passes over a string and gives its characters.
    pub fn string(&mut self) -> Result<Cow<'a, str>, ValueError> {
        self.expect(b'"')?;
        let plain = self.plain()?;
        if self.text.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                    text.push_str(self.plain()?);
                }
                Some(_) => return Err(self.broken("a control character in a string")),
                None => return Err(self.broken("a string without end")),
            }
        }
    }

    /// Characters up to a quote, a backslash, a control character or the end.
    fn plain(&mut self) -> Result<&'a str, ValueError> {
        let start = self.at;
        self.at += scan::plain(&self.text[start..]);
        self.characters(start).map_err(|error| {
            self.at = start + error.valid_up_to();
            self.broken("not UTF-8")
        })
    }

    fn escape(&mut self) -> Result<char, ValueError> {
        let byte = self.text.get(self.at).copied();
        self.at += 1;
        Ok(match byte {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => {
                self.at -= 1;
                return Err(self.broken("an unknown escape"));
            }
        })
    }

    fn unicode_escape(&mut self) -> Result<char, ValueError> {
        let first = self.four_hex_digits()?;
        if let Some(scalar) = char::from_u32(first) {
            return Ok(scalar);
        }
        let pair = first < 0xDC00 && self.text[self.at..].starts_with(b"\\u");
        if pair {
            self.at += 2;
            let second = self.four_hex_digits()?;
            if (0xDC00..0xE000).contains(&second)
                && let Some(scalar) = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))
            {
                return Ok(scalar);
            }
        }
        Err(self.broken("half of a surrogate pair"))
    }

    fn four_hex_digits(&mut self) -> Result<u32, ValueError> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = self.text.get(self.at).and_then(|byte| char::from(*byte).to_digit(16));
            number = number * 16 + digit.ok_or_else(|| self.broken("expected a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(number)
    }

    /// What kind of value comes next, for messages.
    pub fn kind(&mut self) -> &'static str {
        match self.peek() {
            None => "nothing",
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'n') => "null",
            Some(b't' | b'f') => "a boolean",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(_) => "no JSON",
        }
    }

    /// The error for a value of the wrong kind; a syntax error where the value
    /// is not even JSON.
    pub fn mismatch(&mut self, wanted: &str) -> ValueError {
        match self.kind() {
            "no JSON" | "nothing" => self.unexpected(wanted),
            found => ValueError::new(format!("expected {wanted}, found {found}")),
        }
    }
}

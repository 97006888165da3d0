//! JSON that a guest made itself: checked, and put on one line, without
//! recursion and without knowing its type.

use std::borrow::Cow;

use crate::value::lex::{Cursor, MAX_DEPTH};
use crate::value::{ValueError, number};

/// Checks that `text` is one JSON value: UTF-8, no halves of surrogate pairs,
/// no key twice in an object, numbers within the range of a 64-bit float,
/// nested at most 128 levels deep.
///
/// # Errors
/// What is wrong, and at which byte.
pub fn validate(text: &[u8]) -> Result<(), ValueError> {
    let mut cursor = Cursor::new(text);
    scan(&mut cursor, |_| {})?;
    cursor.end()
}

/// Checks like [`validate`] and appends the same value without white space
/// between tokens, so on one line.
///
/// # Errors
/// As [`validate`]; `out` is as before then.
pub fn compact(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let before = out.len();
    out.reserve(text.len());
    let mut cursor = Cursor::new(text);
    let checked = scan(&mut cursor, |token| out.extend_from_slice(token)).and_then(|()| cursor.end());
    if checked.is_err() {
        out.truncate(before);
    }
    checked
}

/// Passes over one value of any type.
pub fn skip(cursor: &mut Cursor<'_>) -> Result<(), ValueError> {
    scan(cursor, |_| {})
}

/// What an item passes to a guest that takes bytes: the characters of a JSON
/// string, any other JSON text as it is.
///
/// # Errors
/// Text that begins as a string but is none.
pub fn item_text(item: &[u8]) -> Result<Cow<'_, [u8]>, ValueError> {
    let mut cursor = Cursor::new(item);
    if cursor.peek() != Some(b'"') {
        return Ok(Cow::Borrowed(item));
    }
    let text = cursor.string()?;
    cursor.end()?;
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// An array or object that is not closed yet.
enum Open {
    Array,
    /// Its keys are those from this position of the list of keys on.
    Object(usize),
}

fn scan<'a>(cursor: &mut Cursor<'a>, mut emit: impl FnMut(&[u8])) -> Result<(), ValueError> {
    let mut open: Vec<Open> = Vec::new();
    let mut keys: Vec<Cow<'a, str>> = Vec::new();
    loop {
        let opened = match cursor.peek() {
            Some(b'[') => Some((Open::Array, b'[', b']')),
            Some(b'{') => Some((Open::Object(keys.len()), b'{', b'}')),
            _ => None,
        };
        if let Some((container, first, last)) = opened {
            cursor.expect(first)?;
            emit(&[first]);
            if !cursor.take(last) {
                if open.len() == MAX_DEPTH {
                    return Err(ValueError::new(format!("nested deeper than {MAX_DEPTH}")));
                }
                if let Open::Object(_) = container {
                    key(cursor, &mut keys, &mut emit)?;
                }
                open.push(container);
                continue;
            }
            emit(&[last]);
        } else {
            scalar(cursor, &mut emit)?;
        }
        if !close(cursor, &mut open, &mut keys, &mut emit)? {
            return Ok(());
        }
    }
}

/// Closes what ends after a value; whether another value follows.
fn close<'a>(
    cursor: &mut Cursor<'a>,
    open: &mut Vec<Open>,
    keys: &mut Vec<Cow<'a, str>>,
    emit: &mut impl FnMut(&[u8]),
) -> Result<bool, ValueError> {
    while let Some(container) = open.last() {
        if cursor.take(b',') {
            emit(b",");
            if let Open::Object(_) = container {
                key(cursor, keys, emit)?;
            }
            return Ok(true);
        }
        let (last, wanted) = match container {
            Open::Array => (b']', "`,` or `]`"),
            Open::Object(_) => (b'}', "`,` or `}`"),
        };
        if !cursor.take(last) {
            return Err(cursor.unexpected(wanted));
        }
        emit(&[last]);
        if let Open::Object(first) = *container {
            distinct(&mut keys[first..])?;
            keys.truncate(first);
        }
        open.pop();
    }
    Ok(false)
}

fn key<'a>(
    cursor: &mut Cursor<'a>,
    keys: &mut Vec<Cow<'a, str>>,
    emit: &mut impl FnMut(&[u8]),
) -> Result<(), ValueError> {
    cursor.peek();
    let start = cursor.position();
    keys.push(cursor.string()?);
    emit(cursor.since(start));
    cursor.expect(b':')?;
    emit(b":");
    Ok(())
}

fn distinct(keys: &mut [Cow<'_, str>]) -> Result<(), ValueError> {
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(ValueError::new(format!("key {:?} is given twice", number::shorten(&pair[0])))),
    }
}

fn scalar(cursor: &mut Cursor<'_>, emit: &mut impl FnMut(&[u8])) -> Result<(), ValueError> {
    let first = cursor.peek();
    let start = cursor.position();
    match first {
        Some(b'"') => drop(cursor.string()?),
        Some(b'n') => cursor.literal("null")?,
        Some(b't') => cursor.literal("true")?,
        Some(b'f') => cursor.literal("false")?,
        Some(b'-' | b'0'..=b'9') => {
            let text = cursor.number()?;
            if !number::in_range(text) {
                return Err(ValueError::new(format!("{} is out of range", number::shorten(text))));
            }
        }
        _ => return Err(cursor.unexpected("a value")),
    }
    emit(cursor.since(start));
    Ok(())
}

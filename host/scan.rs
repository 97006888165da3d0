//! Where a JSON value ends, and whether it is one: a scanner that can stop
//! after any byte and go on with the next block. Builds no tree and does not
//! recurse.
//!
//! Checks all of the grammar but UTF-8, which [`Utf8`] checks block by block.

/// Containers inside one value; one bit of memory each. Beyond any reader's
/// own limit, so that deep values fail where they are read, by themselves.
pub const MAX_DEPTH: usize = 1 << 20;

/// What scanning a block came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value goes on after this block.
    More,
    /// The value ends before this offset of the block.
    End(usize),
    /// Not JSON, at this offset of the block.
    Bad(usize, &'static str),
}

/// The values that are words.
const WORDS: [&[u8]; 3] = [b"true", b"false", b"null"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    FirstElement,
    FirstKey,
    Key,
    Colon,
    After,
    Text,
    Escape,
    Hex(u8),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
    /// So much of which of [`WORDS`] was read.
    Word(u8, u8),
}

/// Scans one value after another, each begun by [`Scanner::begin`].
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// The string being read is a key.
    key: bool,
    depth: usize,
    /// The innermost containers, one bit each: set for an object.
    bits: u64,
    /// Full words of `bits` further out.
    outer: Vec<u64>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Value, key: false, depth: 0, bits: 0, outer: Vec::new() }
    }
}

impl Scanner {
    /// Forgets what was scanned: a new value comes.
    pub fn begin(&mut self) {
        self.state = State::Value;
        self.depth = 0;
        self.outer.clear();
    }

    /// Whether the input may end here: the value is a number without an end
    /// mark of its own.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.depth == 0
            && matches!(self.state, State::Zero | State::Integer | State::Fraction | State::Power | State::After)
    }

    fn push(&mut self, object: bool) -> bool {
        if self.depth == MAX_DEPTH {
            return false;
        }
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
        true
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }

    /// Scans on from where the last block ended.
    pub fn feed(&mut self, block: &[u8]) -> Step {
        let mut at = 0;
        while at < block.len() {
            let step = match self.state {
                State::Text => self.text(block, &mut at),
                State::Escape | State::Hex(_) => self.escape(block, &mut at),
                State::Value | State::FirstElement => self.value(block, &mut at),
                State::FirstKey | State::Key | State::Colon | State::After => self.between(block, &mut at),
                State::Word(which, read) => self.word(which, read, block, &mut at),
                _ => self.number(block, &mut at),
            };
            match step {
                Ok(()) if self.depth == 0 && self.state == State::After => return Step::End(at),
                Ok(()) => {}
                Err(what) => return Step::Bad(at, what),
            }
        }
        Step::More
    }

    /// A value, and those that follow it, as long as what comes is whole in
    /// this block and of the usual kinds: no new look at the state is needed.
    #[inline]
    fn value(&mut self, block: &[u8], at: &mut usize) -> Result<(), &'static str> {
        loop {
            *at += spaces(&block[*at..]);
            let Some(byte) = block.get(*at) else { return Ok(()) };
            match byte {
                b'"' => {
                    self.key = false;
                    self.state = State::Text;
                    *at += 1;
                    self.text(block, at)?;
                }
                b'{' | b'[' => {
                    let object = *byte == b'{';
                    if !self.push(object) {
                        return Err("nested too deeply");
                    }
                    self.state = if object { State::FirstKey } else { State::FirstElement };
                    *at += 1;
                    match key_ahead(&block[*at..]) {
                        Some(length) if object => *at += length,
                        _ if object => return Ok(()),
                        _ => continue,
                    }
                    self.state = State::Value;
                    continue;
                }
                b'-' | b'0'..=b'9' => match number_ahead(&block[*at..]) {
                    Some(length) => {
                        *at += length;
                        self.state = State::After;
                    }
                    None => {
                        self.state = match byte {
                            b'-' => State::Minus,
                            b'0' => State::Zero,
                            _ => State::Integer,
                        };
                        *at += 1;
                        self.number(block, at)?;
                    }
                },
                b't' => self.word(0, 0, block, at)?,
                b'f' => self.word(1, 0, block, at)?,
                b'n' => self.word(2, 0, block, at)?,
                b']' if self.state == State::FirstElement => {
                    self.pop();
                    self.state = State::After;
                    *at += 1;
                }
                _ => return Err("expected a value"),
            }
            if !self.follows(block, at) {
                return Ok(());
            }
        }
    }

    /// Passes over what plainly stands between a value and the next one.
    #[inline]
    fn follows(&mut self, block: &[u8], at: &mut usize) -> bool {
        while self.state == State::After && self.depth > 0 {
            match (block.get(*at), self.in_object()) {
                (Some(b','), false) => *at += 1,
                (Some(b','), true) => match key_ahead(&block[*at + 1..]) {
                    Some(length) => *at += 1 + length,
                    None => return false,
                },
                (Some(b']'), false) | (Some(b'}'), true) => {
                    self.pop();
                    *at += 1;
                    continue;
                }
                _ => return false,
            }
            self.state = State::Value;
            return true;
        }
        false
    }

    /// Punctuation between values, and the start of keys.
    #[inline]
    fn between(&mut self, block: &[u8], at: &mut usize) -> Result<(), &'static str> {
        *at += spaces(&block[*at..]);
        let Some(byte) = block.get(*at) else { return Ok(()) };
        let next = match (self.state, byte) {
            (State::After, b',') => {
                if self.in_object() {
                    State::Key
                } else {
                    State::Value
                }
            }
            (State::Colon, b':') => State::Value,
            (State::FirstKey | State::Key, b'"') => {
                self.key = true;
                State::Text
            }
            (State::After | State::FirstKey, b'}') if self.in_object() => {
                self.pop();
                State::After
            }
            (State::After, b']') if !self.in_object() => {
                self.pop();
                State::After
            }
            (State::Colon, _) => return Err("expected ':'"),
            (State::FirstKey, _) => return Err("expected a key in double quotes or '}'"),
            (State::Key, _) => return Err("expected a key in double quotes"),
            _ if self.in_object() => return Err("expected ',' or '}'"),
            _ => return Err("expected ',' or ']'"),
        };
        self.state = next;
        *at += 1;
        match next {
            State::Text => self.text(block, at),
            State::Value => self.value(block, at),
            _ => Ok(()),
        }
    }

    #[inline]
    fn text(&mut self, block: &[u8], at: &mut usize) -> Result<(), &'static str> {
        *at += plain(&block[*at..]);
        let Some(byte) = block.get(*at) else { return Ok(()) };
        self.state = match byte {
            b'"' if self.key => State::Colon,
            b'"' => State::After,
            b'\\' => State::Escape,
            _ => return Err("control character in a string"),
        };
        *at += 1;
        Ok(())
    }

    fn escape(&mut self, block: &[u8], at: &mut usize) -> Result<(), &'static str> {
        let byte = block[*at];
        self.state = match (self.state, byte) {
            (State::Escape, b'u') => State::Hex(4),
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => State::Text,
            (State::Hex(1), _) if byte.is_ascii_hexdigit() => State::Text,
            (State::Hex(left), _) if byte.is_ascii_hexdigit() => State::Hex(left - 1),
            _ => return Err("unknown escape in a string"),
        };
        *at += 1;
        Ok(())
    }

    fn word(&mut self, which: u8, read: u8, block: &[u8], at: &mut usize) -> Result<(), &'static str> {
        let rest = &WORDS[usize::from(which)][usize::from(read)..];
        let length = rest.len().min(block.len() - *at);
        if let Some(wrong) = (0..length).find(|step| block[*at + step] != rest[*step]) {
            *at += wrong;
            return Err("expected a value");
        }
        *at += length;
        self.state = if length == rest.len() { State::After } else { State::Word(which, read + length as u8) };
        Ok(())
    }

    #[inline]
    fn number(&mut self, block: &[u8], at: &mut usize) -> Result<(), &'static str> {
        if self.state == State::Integer {
            *at += digits(&block[*at..]);
        }
        while let Some(byte) = block.get(*at) {
            let next = match (self.state, byte) {
                (State::Integer, b'0'..=b'9') => State::Integer,
                (State::Fraction | State::Point, b'0'..=b'9') => State::Fraction,
                (State::Minus, b'0') => State::Zero,
                (State::Minus, b'1'..=b'9') => State::Integer,
                (State::Zero | State::Integer, b'.') => State::Point,
                (State::Zero | State::Integer | State::Fraction, b'e' | b'E') => State::Exponent,
                (State::Exponent, b'+' | b'-') => State::Sign,
                (State::Exponent | State::Sign | State::Power, b'0'..=b'9') => State::Power,
                (State::Zero | State::Integer | State::Fraction | State::Power, _) => {
                    if !matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
                        return Err("not a number");
                    }
                    self.state = State::After;
                    return Ok(());
                }
                _ => return Err("not a number"),
            };
            self.state = next;
            *at += 1;
        }
        Ok(())
    }
}

/// How many bytes of JSON's white space lead the text.
#[inline]
#[must_use]
pub fn spaces(text: &[u8]) -> usize {
    match text.first() {
        Some(b' ' | b'\n' | b'\r' | b'\t') => {
            text.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).unwrap_or(text.len())
        }
        _ => 0,
    }
}

/// How many bytes lead the text that need no look inside a string: no quote,
/// no backslash, no control.
#[inline]
#[must_use]
pub fn plain(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5c);
        // The lowest marked byte is exact; a borrow can only mark bytes above.
        let found = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + text[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(text.len() - at)
}

/// How many digits lead the text.
#[inline]
#[must_use]
pub fn digits(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        // A digit is 0x30 to 0x39: its high half is 3, and stays so with 6
        // more. A carry can only mark bytes above the first that is none.
        let high = |word: u64| (word & (ONES * 0xf0)) ^ (ONES * 0x30);
        let found = high(word) | high(word.wrapping_add(ONES * 6));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + text[at..].iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len() - at)
}

/// The length of a key that leads the text, with its quotes and colon, where
/// it is as plain as most are.
#[inline]
fn key_ahead(text: &[u8]) -> Option<usize> {
    let name = text.strip_prefix(b"\"")?;
    let length = plain(name);
    name[length..].starts_with(b"\":").then_some(length + 3)
}

/// The length of a number that leads the text, and ends in it.
#[inline]
fn number_ahead(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| Some(digits(text.get(from..)?)).filter(|count| *count > 0).map(|count| from + count);
    let first = usize::from(text.first() == Some(&b'-'));
    let mut at = if text.get(first) == Some(&b'0') { first + 1 } else { digits(first)? };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at = digits(at)?;
    }
    matches!(text.get(at), Some(b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t')).then_some(at)
}

/// Checks that a text is one whole JSON value in UTF-8, with nothing but
/// white space around it.
///
/// # Errors
/// The offset, and what is wrong there.
pub fn check(text: &[u8]) -> Result<(), (usize, &'static str)> {
    let mut scanner = Scanner::default();
    check_with(&mut scanner, text)
}

/// [`check`] with a scanner that is kept for the next text.
///
/// # Errors
/// As [`check`].
pub fn check_with(scanner: &mut Scanner, text: &[u8]) -> Result<(), (usize, &'static str)> {
    if let Err(error) = std::str::from_utf8(text) {
        return Err((error.valid_up_to(), "not UTF-8"));
    }
    scanner.begin();
    match scanner.feed(text) {
        Step::Bad(at, what) => Err((at, what)),
        Step::More if scanner.may_end() => Ok(()),
        Step::More => Err((text.len(), "ends too early")),
        Step::End(end) if end + spaces(&text[end..]) == text.len() => Ok(()),
        Step::End(end) => Err((end + spaces(&text[end..]), "more text after the value")),
    }
}

/// Checks a stream of blocks for UTF-8.
#[derive(Clone, Debug, Default)]
pub struct Utf8 {
    /// The first bytes of a character that a block's end cut.
    cut: Vec<u8>,
}

impl Utf8 {
    /// Checks the next block; the error is the offset of a byte that is no
    /// UTF-8 (0 where the fault began in the block before).
    ///
    /// # Errors
    /// When the stream is not UTF-8.
    pub fn feed(&mut self, mut block: &[u8]) -> Result<(), usize> {
        let mut skipped = 0;
        while !self.cut.is_empty() {
            let Some((first, rest)) = block.split_first() else { return Ok(()) };
            self.cut.push(*first);
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) if error.error_len().is_some() => return Err(skipped),
                Err(_) => {}
            }
            block = rest;
            skipped += 1;
        }
        match std::str::from_utf8(block) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(skipped + error.valid_up_to()),
            Err(error) => {
                self.cut.extend_from_slice(&block[error.valid_up_to()..]);
                Ok(())
            }
        }
    }

    /// Whether the stream may end here.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.cut.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What serde_json thinks, on strings as well: `IgnoredAny` does not look
    /// into them.
    fn reference(text: &[u8]) -> bool {
        let mut reader = serde_json::Deserializer::from_slice(text);
        serde::de::Deserialize::deserialize(&mut reader)
            .and_then(|_: serde::de::IgnoredAny| reader.end())
            .is_ok_and(|()| std::str::from_utf8(text).is_ok())
    }

    #[test]
    fn digits_are_counted_whatever_ends_them() {
        for end in 0..=u8::MAX {
            for count in 0..20 {
                let text: Vec<u8> = (0..count).map(|at| b'0' + at % 10).chain([end, b'5', 0xff, b'7']).collect();
                let more = if end.is_ascii_digit() { 2 } else { 0 };
                assert_eq!(digits(&text), usize::from(count) + more, "{}", text.escape_ascii());
                assert_eq!(digits(&text[..usize::from(count)]), usize::from(count));
            }
        }
    }

    #[test]
    fn values_of_every_kind_are_accepted() {
        for text in ["0", "-0", "12.5e-7", "1E+2", "true", "false", "null", "\"\"", r#""a\n\u00e9\"b""#, "[]", "{}"] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        assert_eq!(check(br#" {"a":[1,{"b":[]},"x"],"c":{}} "#), Ok(()));
    }

    #[test]
    fn faults_are_placed() {
        let cases: [(&str, usize, &str); 14] = [
            ("", 0, "ends too early"),
            ("[1", 2, "ends too early"),
            ("[1,]", 3, "expected a value"),
            ("[1 2]", 3, "expected ',' or ']'"),
            ("{\"a\" 1}", 5, "expected ':'"),
            ("{\"a\":1,}", 7, "expected a key in double quotes"),
            ("{1:1}", 1, "expected a key in double quotes or '}'"),
            ("[1}", 2, "expected ',' or ']'"),
            ("01", 1, "not a number"),
            ("-", 1, "ends too early"),
            ("1.e2", 2, "not a number"),
            ("\"\\x\"", 2, "unknown escape in a string"),
            ("nul]", 3, "expected a value"),
            ("1 2", 2, "more text after the value"),
        ];
        for (text, at, what) in cases {
            assert_eq!(check(text.as_bytes()), Err((at, what)), "{text}");
        }
        assert_eq!(check(b"\"a\x01\""), Err((2, "control character in a string")));
        assert_eq!(check(b"\"\xff\""), Err((1, "not UTF-8")));
    }

    #[test]
    fn a_million_levels_need_neither_stack_nor_much_memory() {
        let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
        assert_eq!(check(&deep), Ok(()));
        let mixed = [b"[{\"a\":".repeat(1000), b"1".to_vec(), b"}]".repeat(1000)].concat();
        assert_eq!(check(&mixed), Ok(()));
        let crossed = [b"[{\"a\":".repeat(1000), b"1".to_vec(), b"}]".repeat(999), b"]}".to_vec()].concat();
        assert!(check(&crossed).is_err());
        let too_deep = vec![b'['; MAX_DEPTH + 1];
        assert_eq!(check(&too_deep), Err((MAX_DEPTH, "nested too deeply")));
    }

    #[test]
    fn utf8_is_checked_across_blocks() {
        let text = "aé日🙂".as_bytes();
        for cut in 0..=text.len() {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.feed(&text[..cut]), Ok(()));
            assert_eq!(utf8.feed(&text[cut..]), Ok(()));
            assert!(utf8.may_end());
        }
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.feed(b"a\xe6\x97"), Ok(()));
        assert!(!utf8.may_end());
        assert_eq!(utf8.feed(b"z"), Err(0));
    }

    /// Texts that are JSON, or nearly.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\"a\""),
            Just("\"\\u12eF\""),
            Just("1"),
            Just("-0.5e3"),
            Just("0"),
            Just("e"),
            Just("."),
            Just("-"),
            Just("true"),
            Just("nul"),
            Just("null"),
            Just(" "),
            Just("\n"),
            Just("\""),
            Just("\\"),
            Just("é"),
            Just("\u{1}"),
            Just("long string"),
        ];
        prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn agrees_with_serde_json(text in nearly_json()) {
            prop_assert_eq!(check(&text).is_ok(), reference(&text), "{:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn agrees_with_serde_json_on_any_bytes_in_a_string(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = [b"[\"".as_slice(), &bytes, b"\"]"].concat();
            prop_assert_eq!(check(&text).is_ok(), reference(&text), "{:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn a_split_changes_nothing(text in nearly_json(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(text.len() + 1);
            let mut whole = Scanner::default();
            let expected = whole.feed(&text);
            let mut split = Scanner::default();
            let got = match split.feed(&text[..cut]) {
                Step::More => match split.feed(&text[cut..]) {
                    Step::End(end) => Step::End(end + cut),
                    Step::Bad(at, what) => Step::Bad(at + cut, what),
                    Step::More => Step::More,
                },
                done => done,
            };
            prop_assert_eq!(got, expected);
            prop_assert_eq!(split.may_end(), whole.may_end());
        }
    }
}

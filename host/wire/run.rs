//! Runs: many small items in one frame, and the plain reports of consecutive
//! items in one frame. Pure; the reading side checks every length.

use bytes::{Buf, BufMut, Bytes};

use crate::outcome::Form;
use crate::wire::frame::{FrameKind, Head};
use crate::wire::integer;
use crate::wire::message::ItemForm;

/// Most items in one run.
pub const MAX_ITEMS: usize = 1024;

/// Bytes of items or values after which a run is closed.
pub const MAX_BYTES: usize = 64 << 10;

/// Most bytes of an item or a value that travels in a run: copying a longer
/// one costs more than a frame of its own.
pub const MAX_ITEM: usize = 4 << 10;

/// Bytes of a report of a run before its marks.
const REPORT: usize = 20;

/// Bytes of one mark.
const MARK: usize = 8;

/// Flag of a run whose items are JSON integers, each as the eight bytes of the
/// number instead of its text.
const NUMBERS: u8 = 1 << 2;

/// What integers are in the flags of values.
const INTEGERS: u8 = 3;

/// Bytes of an integer that is no text.
pub const INTEGER: usize = size_of::<i64>();

/// Puts the form of items into a frame's flags.
#[must_use]
pub fn item_flags(form: ItemForm) -> u8 {
    match form {
        ItemForm::Json => 0,
        ItemForm::Raw => 1,
        ItemForm::Cells => 2,
    }
}

/// The same for a run of numbers.
#[must_use]
pub fn number_flags() -> u8 {
    item_flags(ItemForm::Json) | NUMBERS
}

/// Reads what [`item_flags`] wrote.
#[must_use]
pub fn item_form(flags: u8) -> Option<ItemForm> {
    Some(match flags & 0b11 {
        0 => ItemForm::Json,
        1 => ItemForm::Raw,
        2 => ItemForm::Cells,
        _ => return None,
    })
}

/// Whether the items of a run are numbers, each of [`INTEGER`] bytes.
#[must_use]
pub fn are_numbers(flags: u8) -> bool {
    flags & NUMBERS != 0
}

/// The number that such an item is.
#[must_use]
pub fn number(item: &[u8]) -> Option<i64> {
    item.try_into().ok().map(i64::from_le_bytes)
}

/// Appends a frame that holds the items whose ends in `bytes` are `ends`,
/// counted from `start`. `head` has the first item's ticket, index and flags.
pub fn put_items(out: &mut Vec<u8>, mut head: Head, start: u32, ends: &[u32], bytes: &[u8]) {
    head.kind = FrameKind::Run;
    head.length = (4 + ends.len() * 4 + bytes.len()) as u32;
    head.put(out);
    out.put_u32_le(ends.len() as u32);
    for end in ends {
        out.put_u32_le(end - start);
    }
    out.put_slice(bytes);
}

/// The items of a [`FrameKind::Run`].
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    ends: &'a [u8],
    bytes: &'a [u8],
    start: usize,
}

impl<'a> Items<'a> {
    /// Reads a frame's payload.
    #[must_use]
    pub fn read(mut payload: &'a [u8]) -> Option<Self> {
        let count = payload.try_get_u32_le().ok()? as usize;
        if count > MAX_ITEMS {
            return None;
        }
        let (ends, bytes) = payload.split_at_checked(count * 4)?;
        Some(Self { ends, bytes, start: 0 })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    /// `None` at the end, and at an end that is none.
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.ends.try_get_u32_le().ok()? as usize;
        let item = self.bytes.get(self.start..end)?;
        self.start = end;
        Some(item)
    }
}

/// One value of a run's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it ends among the values, in bytes.
    pub end: u32,
    /// How long its task ran, in nanoseconds: wall time and processor time.
    pub wall_ns: u32,
}

/// How the values of a frame stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As their bytes.
    Plain(Form),
    /// JSON integers, each as the [`INTEGER`] bytes of the number.
    Integers,
}

impl From<Form> for Packing {
    fn from(form: Form) -> Self {
        Self::Plain(form)
    }
}

impl Packing {
    /// The form of the values.
    #[must_use]
    pub fn form(self) -> Form {
        match self {
            Self::Plain(form) => form,
            Self::Integers => Form::Json,
        }
    }
}

/// Reports of consecutive tasks that returned values and did nothing else
/// worth a word. The marks stay as they came: nothing is allocated for a value,
/// nor for a part.
#[derive(Clone, Debug)]
pub struct Values {
    /// The form of all of them, and how they stand in `bytes`.
    pub packing: Packing,
    /// Start of the first task, in microseconds since the epoch; the others
    /// follow without a pause.
    pub started_us: u64,
    /// Peak of memory of each task, in bytes.
    pub peak_memory: u64,
    /// The longest that a task may claim to have run, in nanoseconds.
    pub most_wall_ns: u32,
    /// The values, one after another.
    pub bytes: Bytes,
    /// [`Mark`]s as they are on the wire, as many as values; checked.
    marks: Bytes,
    /// Where `bytes` begins, as the marks count.
    base: u32,
}

impl Values {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len() / MARK
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Bytes that they take in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.marks.len()
    }

    /// The mark of the value with this number.
    #[must_use]
    pub fn mark(&self, number: usize) -> Option<Mark> {
        let raw = self.marks.get(number.saturating_mul(MARK)..)?.first_chunk()?;
        Some(self.unpack(*raw))
    }

    /// The marks from this number on.
    pub fn marks(&self, from: usize) -> impl Iterator<Item = Mark> {
        let (marks, _none) = self.marks.get(from.saturating_mul(MARK)..).unwrap_or_default().as_chunks::<MARK>();
        marks.iter().map(|mark| self.unpack(*mark))
    }

    fn unpack(&self, [a, b, c, d, e, f, g, h]: [u8; MARK]) -> Mark {
        let (end, wall_ns) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Mark { end: end.saturating_sub(self.base), wall_ns: wall_ns.min(self.most_wall_ns) }
    }

    /// The same with integers as their text.
    #[must_use]
    pub fn into_plain(mut self) -> Self {
        if self.packing != Packing::Integers {
            return self;
        }
        let (mut bytes, mut marks) = (Vec::new(), Vec::with_capacity(self.marks.len()));
        let (values, _none) = self.bytes.as_chunks::<INTEGER>();
        for (value, mark) in values.iter().zip(self.marks(0)) {
            integer::put(&mut bytes, i64::from_le_bytes(*value));
            marks.put_u32_le(bytes.len() as u32);
            marks.put_u32_le(mark.wall_ns);
        }
        (self.bytes, self.marks, self.base) = (bytes.into(), marks.into(), 0);
        self.packing = Packing::Plain(Form::Json);
        self
    }

    /// Takes the first `count` values out.
    #[must_use]
    pub fn split_front(&mut self, count: usize) -> Self {
        let count = count.min(self.len());
        let end = count.checked_sub(1).and_then(|last| self.mark(last)).map_or(0, |mark| mark.end);
        let wall_ns: u64 = self.marks(0).take(count).map(|mark| u64::from(mark.wall_ns)).sum();
        let bytes = self.bytes.split_to((end as usize).min(self.bytes.len()));
        let front = Self { marks: self.marks.split_to(count * MARK), bytes, ..*self };
        self.base += end;
        self.started_us = self.started_us.saturating_add(wall_ns / 1000);
        front
    }
}

/// Appends a frame of values; `head` has the first one's ticket.
pub fn put_values(
    out: &mut Vec<u8>,
    head: &Head,
    packing: impl Into<Packing>,
    started_us: u64,
    peak_memory: u64,
    marks: &[Mark],
    bytes: &[u8],
) {
    let flags = match packing.into() {
        Packing::Plain(Form::Json) => 0,
        Packing::Plain(Form::Text) => 1,
        Packing::Plain(Form::Bytes) => 2,
        Packing::Integers => INTEGERS,
    };
    let length = (REPORT + marks.len() * MARK + bytes.len()) as u32;
    Head { kind: FrameKind::Values, flags, length, ..*head }.put(out);
    out.put_u64_le(started_us);
    out.put_u64_le(peak_memory);
    out.put_u32_le(marks.len() as u32);
    for mark in marks {
        out.put_u32_le(mark.end);
        out.put_u32_le(mark.wall_ns);
    }
    out.put_slice(bytes);
}

/// Reads a frame of values; `None` when it is not one. Believes nothing.
#[must_use]
pub fn read_values(head: &Head, mut payload: Bytes) -> Option<Values> {
    let packing = match head.flags {
        0 => Packing::Plain(Form::Json),
        1 => Packing::Plain(Form::Text),
        2 => Packing::Plain(Form::Bytes),
        INTEGERS => Packing::Integers,
        _ => return None,
    };
    let started_us = payload.try_get_u64_le().ok()?;
    let peak_memory = payload.try_get_u64_le().ok()?;
    let count = payload.try_get_u32_le().ok()? as usize;
    if count == 0 || count > MAX_ITEMS || payload.len() < count * MARK {
        return None;
    }
    let marks = payload.split_to(count * MARK);
    let bytes = payload;
    let values = Values { packing, started_us, peak_memory, most_wall_ns: u32::MAX, bytes, marks, base: 0 };
    let mut last = 0;
    for mark in values.marks(0) {
        let size = mark.end.checked_sub(last)?;
        if packing == Packing::Integers && size as usize != INTEGER {
            return None;
        }
        last = mark.end;
    }
    (last as usize == values.bytes.len()).then_some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::Decoder;

    fn framed(out: &[u8]) -> (Head, Bytes) {
        let mut decoder = Decoder::new(1 << 20);
        decoder.buffer().extend_from_slice(out);
        decoder.next_frame().expect("frames").expect("whole")
    }

    proptest! {
        #[test]
        fn items_survive_the_wire(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..50), start in 0..100_u32) {
            let mut end = start;
            let ends: Vec<u32> = items.iter().map(|item| { end += item.len() as u32; end }).collect();
            let mut out = Vec::new();
            put_items(&mut out, Head::control(FrameKind::Run, 0), start, &ends, &items.concat());
            let (head, payload) = framed(&out);
            prop_assert_eq!(head.kind, FrameKind::Run);
            let read: Vec<Vec<u8>> = Items::read(&payload).expect("items").map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read, items);
        }

        #[test]
        fn values_survive_the_wire(values in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), any::<u32>()), 1..50)) {
            let (mut marks, mut bytes) = (Vec::new(), Vec::new());
            for (value, wall_ns) in &values {
                bytes.extend_from_slice(value);
                marks.push(Mark { end: bytes.len() as u32, wall_ns: *wall_ns });
            }
            let mut out = Vec::new();
            put_values(&mut out, &Head::control(FrameKind::Values, 0), Form::Text, 7, 8, &marks, &bytes);
            let (head, payload) = framed(&out);
            let read = read_values(&head, payload).expect("values");
            prop_assert_eq!((read.packing.form(), read.started_us, read.peak_memory, read.len()), (Form::Text, 7, 8, marks.len()));
            prop_assert_eq!((read.marks(0).collect::<Vec<_>>(), &read.bytes[..]), (marks, &bytes[..]));
        }

        #[test]
        fn integers_survive_the_wire_in_two_parts(numbers in prop::collection::vec(any::<i64>(), 1..50), count in 0..60_usize) {
            let marks: Vec<Mark> = (1..).zip(&numbers).map(|(nth, _)| Mark { end: nth * 8, wall_ns: nth * 1000 }).collect();
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let mut out = Vec::new();
            put_values(&mut out, &Head::control(FrameKind::Values, 0), Packing::Integers, 5, 0, &marks, &bytes);
            let (head, payload) = framed(&out);
            let mut rest = read_values(&head, payload).expect("values");
            let front = rest.split_front(count);
            let mut texts = Vec::new();
            for part in [front, rest] {
                let (walls, length): (Vec<u32>, usize) = (part.marks(0).map(|mark| mark.wall_ns).collect(), part.len());
                let plain = part.into_plain();
                prop_assert_eq!((plain.packing, plain.len()), (Packing::Plain(Form::Json), length));
                let mut start = 0;
                for (mark, wall_ns) in plain.marks(0).zip(walls) {
                    prop_assert_eq!(mark.wall_ns, wall_ns);
                    texts.push(String::from_utf8(plain.bytes[start..mark.end as usize].to_vec()).expect("text"));
                    start = mark.end as usize;
                }
                prop_assert_eq!(start, plain.bytes.len());
            }
            prop_assert_eq!(texts, numbers.iter().map(i64::to_string).collect::<Vec<_>>());
        }

        #[test]
        fn values_are_the_same_in_two_parts(values in prop::collection::vec(any::<u8>(), 1..50), count in 0..60_usize) {
            let marks: Vec<Mark> = (1..).zip(&values).map(|(end, wall)| Mark { end, wall_ns: u32::from(*wall) * 1000 }).collect();
            let mut out = Vec::new();
            put_values(&mut out, &Head::control(FrameKind::Values, 0), Form::Json, 5, 0, &marks, &values);
            let (head, payload) = framed(&out);
            let mut rest = read_values(&head, payload).expect("values");
            let front = rest.split_front(count);
            prop_assert_eq!([&front.bytes[..], &rest.bytes[..]].concat(), values.clone());
            prop_assert_eq!(front.len(), count.min(values.len()));
            prop_assert!(front.marks(0).chain(rest.marks(0)).zip(&values).all(|(mark, wall)| mark.wall_ns / 1000 == u32::from(*wall)));
            for part in [&front, &rest] {
                prop_assert_eq!(part.marks(0).last().map_or(0, |mark| mark.end as usize), part.bytes.len());
            }
            prop_assert_eq!(rest.started_us, 5 + values[..front.len()].iter().map(|wall| u64::from(*wall)).sum::<u64>());
        }

        #[test]
        fn any_payload_is_values_within_it_or_nothing(flags in 0..5_u8, payload in prop::collection::vec(any::<u8>(), 0..200), count in 0..6_u32) {
            let mut payload = payload;
            if payload.len() > 20 {
                payload[16..20].copy_from_slice(&count.to_le_bytes());
            }
            let mut head = Head::control(FrameKind::Values, payload.len() as u32);
            head.flags = flags;
            if let Some(values) = read_values(&head, Bytes::from(payload)) {
                prop_assert!(values.marks(0).all(|mark| mark.end as usize <= values.bytes.len()));
                prop_assert_eq!(values.len(), count as usize);
                prop_assert!(values.packing != Packing::Integers || values.bytes.len() == count as usize * INTEGER);
                prop_assert_eq!(values.into_plain().len(), count as usize);
            }
        }

        #[test]
        fn integers_of_another_size_are_none(sizes in prop::collection::vec(0..17_u32, 1..5), fits in any::<bool>()) {
            let mut end = 0;
            let sizes = sizes.iter().map(|size| if fits { 8 } else { *size });
            let marks: Vec<Mark> = sizes.clone().map(|size| { end += size; Mark { end, wall_ns: 1 } }).collect();
            let mut out = Vec::new();
            put_values(&mut out, &Head::control(FrameKind::Values, 0), Packing::Integers, 5, 0, &marks, &vec![7; end as usize]);
            let (head, payload) = framed(&out);
            prop_assert_eq!(read_values(&head, payload).is_some(), sizes.clone().all(|size| size == 8));
        }

        #[test]
        fn any_payload_is_items_within_it_or_nothing(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(items) = Items::read(&payload) {
                prop_assert!(items.map(<[u8]>::len).sum::<usize>() <= payload.len());
            }
        }
    }
}

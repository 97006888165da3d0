//! Runs: many small items in one frame, and the plain reports of consecutive
//! items in one frame. Pure; the reading side checks every length.

use bytes::{Buf, BufMut, Bytes};

use crate::outcome::Form;
use crate::wire::frame::{FrameKind, Head};
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

/// Puts the form of items into a frame's flags.
#[must_use]
pub fn item_flags(form: ItemForm) -> u8 {
    match form {
        ItemForm::Json => 0,
        ItemForm::Raw => 1,
        ItemForm::Cells => 2,
    }
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

/// Appends a frame that holds the items whose ends in `bytes` are `ends`,
/// counted from `start`. `head` has the first item's ticket and index.
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

/// Reports of consecutive tasks that returned values and did nothing else
/// worth a word. The marks stay as they came: nothing is allocated for a value,
/// nor for a part.
#[derive(Clone, Debug)]
pub struct Values {
    /// The form of all of them.
    pub form: Form,
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
    form: Form,
    started_us: u64,
    peak_memory: u64,
    marks: &[Mark],
    bytes: &[u8],
) {
    let flags = match form {
        Form::Json => 0,
        Form::Text => 1,
        Form::Bytes => 2,
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
    let form = match head.flags {
        0 => Form::Json,
        1 => Form::Text,
        2 => Form::Bytes,
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
    let values = Values { form, started_us, peak_memory, most_wall_ns: u32::MAX, bytes, marks, base: 0 };
    let mut last = 0;
    for mark in values.marks(0) {
        if mark.end < last {
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
            prop_assert_eq!((read.form, read.started_us, read.peak_memory, read.len()), (Form::Text, 7, 8, marks.len()));
            prop_assert_eq!((read.marks(0).collect::<Vec<_>>(), &read.bytes[..]), (marks, &bytes[..]));
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
        fn any_payload_is_values_within_it_or_nothing(flags in 0..4_u8, payload in prop::collection::vec(any::<u8>(), 0..200), count in 0..6_u32) {
            let mut payload = payload;
            if payload.len() > 20 {
                payload[16..20].copy_from_slice(&count.to_le_bytes());
            }
            let mut head = Head::control(FrameKind::Values, payload.len() as u32);
            head.flags = flags;
            if let Some(values) = read_values(&head, Bytes::from(payload)) {
                prop_assert!(values.marks(0).all(|mark| mark.end as usize <= values.bytes.len()));
                prop_assert_eq!(values.len(), count as usize);
            }
        }

        #[test]
        fn any_payload_is_items_within_it_or_nothing(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(items) = Items::read(&payload) {
                prop_assert!(items.map(<[u8]>::len).sum::<usize>() <= payload.len());
            }
        }
    }
}

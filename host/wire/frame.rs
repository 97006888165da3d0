//! Frames: a fixed header and an opaque payload, little-endian.
//!
//! Pure. The decoder never allocates for a length it has not checked, skips a
//! little of kinds it does not know, and gives errors, never panics.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::wire::shelf::{LEAST, Shelf};

/// Version of the protocol; part of the hello.
pub const VERSION: u32 = 1;

/// Bytes of a header on the wire.
pub const HEADER: usize = 32;

/// Most bytes that are read at once of what is skipped.
const MOST_SKIPPED: usize = 256 << 10;

/// A read that may bring several frames has room for so much at least.
const MIN_READ: usize = 4 << 10;

/// Bytes of unknown kinds that one sender may send: enough for what a later
/// version says beside, too little to keep its receiver busy with.
const MAX_UNKNOWN: u32 = 1 << 20;

/// What a frame says. Values are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Host → worker: a [`super::message::Setup`] as JSON.
    Setup = 1,
    /// Host → worker: run an item.
    Task = 2,
    /// Host → worker: run these small items, one after another.
    Run = 3,
    /// Host → worker: a snapshot is wanted. Worker → host: a part of it; the
    /// last one is empty.
    Snapshot = 4,
    /// Host → worker: a [`super::objects::Answer`] to the running task's call.
    Answer = 5,
    /// Worker → host: a [`super::message::Ready`] as JSON.
    Ready = 16,
    /// Worker → host: an item's report.
    Done = 17,
    /// Worker → host: an item that was not started, handed back.
    Returned = 18,
    /// Worker → host: a [`super::message::Refusal`] as JSON; the last frame.
    Refused = 19,
    /// Worker → host: the values of consecutive items.
    Values = 21,
    /// Worker → host: it takes no more items, because a failure cost it the
    /// instance that the initializer had made ready.
    Spent = 22,
    /// Worker → host: a [`super::objects::Call`] of the running task, which
    /// waits for the answer.
    Call = 23,
    /// Worker → host: a [`super::objects::Note`] of the running task.
    Note = 24,
    /// Compile worker → host: a [`super::message::Compiled`] as JSON.
    Compiled = 20,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Setup,
            2 => Self::Task,
            3 => Self::Run,
            4 => Self::Snapshot,
            5 => Self::Answer,
            16 => Self::Ready,
            17 => Self::Done,
            18 => Self::Returned,
            19 => Self::Refused,
            20 => Self::Compiled,
            21 => Self::Values,
            22 => Self::Spent,
            23 => Self::Call,
            24 => Self::Note,
            _ => return None,
        })
    }
}

/// The function that tasks name to mean the initializer.
pub const INITIALIZER: u16 = u16::MAX;

/// The ticket of the initializer; items' are higher.
pub const INITIALIZER_TICKET: u64 = 1;

/// The index of the initializer among the items, for what follows from it
/// under `--deterministic`.
pub const INITIALIZER_INDEX: u64 = u64::MAX;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it says.
    pub kind: FrameKind,
    /// Meaning depends on the kind.
    pub flags: u8,
    /// The function, by its position in the set-up's targets.
    pub function: u16,
    /// Payload bytes that follow.
    pub length: u32,
    /// The slot's own number for the item; 0 where there is none.
    pub ticket: u64,
    /// The item's index in the input.
    pub index: u64,
    /// How often the item was started before, plus one.
    pub attempt: u16,
}

impl Head {
    /// A header for frames that are not about an item.
    #[must_use]
    pub const fn control(kind: FrameKind, length: u32) -> Self {
        Self { kind, flags: 0, function: 0, length, ticket: 0, index: 0, attempt: 0 }
    }

    /// Appends the header's bytes.
    pub fn put(&self, out: &mut impl BufMut) {
        out.put_u8(self.kind as u8);
        out.put_u8(self.flags);
        out.put_u16_le(self.function);
        out.put_u32_le(self.length);
        out.put_u64_le(self.ticket);
        out.put_u64_le(self.index);
        out.put_u16_le(self.attempt);
        out.put_bytes(0, HEADER - 26);
    }
}

/// Why bytes are not frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame claims more payload than its receiver accepts.
    #[error("frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What the frame claims, in bytes.
        length: u32,
        /// What the receiver accepts, in bytes.
        limit: u32,
    },
    /// A sender says too much that its receiver does not know.
    #[error("more than {MAX_UNKNOWN} bytes of frames of unknown kinds")]
    Unknown,
}

/// Cuts a stream of bytes into frames. Feed it through [`Decoder::buffer`], or
/// by what [`Decoder::room`] says.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// A frame whose payload is read into a block of its own.
    large: Option<(Head, Vec<u8>)>,
    /// The last frame was such a one: the next most likely is, too.
    after_large: bool,
    shelf: Arc<Shelf>,
    limit: u32,
    skip: usize,
    /// How many more bytes of unknown kinds are skipped.
    unknown: u32,
}

/// Where received bytes go, and how many may.
#[derive(Debug)]
pub enum Room<'a> {
    /// Onto the end of this buffer.
    Shared(&'a mut BytesMut, usize),
    /// Onto the end of this block.
    Own(&'a mut Vec<u8>, usize),
}

impl Decoder {
    /// A decoder that accepts payloads up to `limit` bytes.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let (buffer, shelf) = (BytesMut::new(), Arc::default());
        Self { buffer, large: None, after_large: false, shelf, limit, skip: 0, unknown: MAX_UNKNOWN }
    }

    /// The same decoder with another limit for frames to come, whose blocks are
    /// of this shelf.
    pub fn go_on(&mut self, limit: u32, shelf: Arc<Shelf>) {
        (self.limit, self.shelf) = (limit, shelf);
    }

    /// The same decoder with another limit for frames to come.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Where received bytes are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Room for the next bytes. Of a large payload it is where that will stay,
    /// and no more than the payload and the next frame's header: so it is
    /// copied once, by the kernel. Small frames come many at a time, in blocks
    /// of `block` bytes.
    pub fn room(&mut self, block: usize) -> Room<'_> {
        self.pour();
        let wanted = self.wanted();
        if let Some((head, payload)) = &mut self.large {
            let most = (head.length as usize + HEADER).saturating_sub(payload.len());
            payload.reserve(most);
            return Room::Own(payload, most);
        }
        if self.after_large && self.skip == 0 && self.buffer.len() < HEADER {
            self.buffer.reserve(wanted);
            return Room::Shared(&mut self.buffer, wanted);
        }
        // A new block only when the old one is used up: payloads pin their
        // block until they are delivered.
        if self.buffer.capacity() - self.buffer.len() < wanted.max(MIN_READ) {
            self.buffer.reserve(wanted.max(block));
        }
        let most = self.buffer.capacity() - self.buffer.len();
        Room::Shared(&mut self.buffer, most)
    }

    /// How many more bytes the frame that has begun needs, at least 1; of one
    /// that is skipped, how many are worth a read.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.skip > 0 {
            return self.skip.min(MOST_SKIPPED);
        }
        if let Some((head, payload)) = &self.large {
            return (head.length as usize).saturating_sub(payload.len() + self.buffer.len()).max(1);
        }
        match self.peek_length() {
            Some(length) => (HEADER + length).saturating_sub(self.buffer.len()).max(1),
            None => HEADER.saturating_sub(self.buffer.len()).max(1),
        }
    }

    fn peek_length(&self) -> Option<usize> {
        let bytes = self.buffer.get(4..HEADER)?;
        let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        (length <= self.limit).then_some(length as usize)
    }

    /// The next whole frame, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// Any [`FrameError`]; the stream is of no more use then.
    pub fn next_frame(&mut self) -> Result<Option<(Head, Bytes)>, FrameError> {
        loop {
            if self.large.is_some() {
                return Ok(self.next_large());
            }
            let skipped = self.skip.min(self.buffer.len());
            self.buffer.advance(skipped);
            self.skip -= skipped;
            if self.skip > 0 || self.buffer.len() < HEADER {
                return Ok(None);
            }
            let mut head = &self.buffer[..HEADER];
            let (kind, flags, function, length) = (head.get_u8(), head.get_u8(), head.get_u16_le(), head.get_u32_le());
            let (ticket, index, attempt) = (head.get_u64_le(), head.get_u64_le(), head.get_u16_le());
            let Some(kind) = FrameKind::from_byte(kind) else {
                let cost = length.saturating_add(HEADER as u32);
                self.unknown = self.unknown.checked_sub(cost).ok_or(FrameError::Unknown)?;
                self.buffer.advance(HEADER);
                self.skip = length as usize;
                continue;
            };
            if length > self.limit {
                return Err(FrameError::TooLong { length, limit: self.limit });
            }
            let head = Head { kind, flags, function, length, ticket, index, attempt };
            let length = length as usize;
            if self.buffer.len() >= HEADER + length {
                self.buffer.advance(HEADER);
                self.after_large = false;
                return Ok(Some((head, self.buffer.split_to(length).freeze())));
            }
            if length < LEAST {
                return Ok(None);
            }
            self.buffer.advance(HEADER);
            self.large = Some((head, self.shelf.take(length + HEADER)));
        }
    }

    /// The frame with a block of its own, if it is whole.
    fn next_large(&mut self) -> Option<(Head, Bytes)> {
        self.pour();
        let (head, mut payload) = self.large.take_if(|(head, payload)| payload.len() >= head.length as usize)?;
        let length = head.length as usize;
        // Read along with it; nothing else has come since.
        self.buffer.extend_from_slice(&payload[length..]);
        payload.truncate(length);
        self.after_large = true;
        Some((head, self.shelf.lend(payload)))
    }

    /// Moves bytes to where the payload is that they belong to.
    fn pour(&mut self) {
        if let Some((head, payload)) = &mut self.large {
            let missing = (head.length as usize).saturating_sub(payload.len()).min(self.buffer.len());
            payload.extend_from_slice(&self.buffer[..missing]);
            self.buffer.advance(missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task(payload: &[u8]) -> Head {
        Head {
            kind: FrameKind::Task,
            flags: 5,
            function: 2,
            length: payload.len() as u32,
            ticket: 7,
            index: u64::MAX,
            attempt: 3,
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_an_error_before_its_payload_comes() {
        let mut decoder = Decoder::new(10);
        Head::control(FrameKind::Done, 11).put(decoder.buffer());
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { length: 11, limit: 10 }));
    }

    #[test]
    fn an_unknown_kind_is_skipped_whatever_its_length() {
        let mut decoder = Decoder::new(10);
        Head::control(FrameKind::Done, 1000).put(decoder.buffer());
        decoder.buffer()[0] = 99;
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.buffer().extend_from_slice(&[0; 1000]);
        Head::control(FrameKind::Ready, 0).put(decoder.buffer());
        let (head, _) = decoder.next_frame().expect("frames").expect("whole");
        assert_eq!(head.kind, FrameKind::Ready);
    }

    #[test]
    fn unknown_kinds_are_skipped_only_up_to_a_bound() {
        let mut decoder = Decoder::new(10);
        for _frame in 0..MAX_UNKNOWN / HEADER as u32 {
            Head::control(FrameKind::Done, 0).put(decoder.buffer());
            decoder.buffer()[0] = 99;
            assert_eq!(decoder.next_frame(), Ok(None));
        }
        Head::control(FrameKind::Done, 0).put(decoder.buffer());
        decoder.buffer()[0] = 99;
        assert_eq!(decoder.next_frame(), Err(FrameError::Unknown));
        let mut decoder = Decoder::new(10);
        Head::control(FrameKind::Done, u32::MAX).put(decoder.buffer());
        decoder.buffer()[0] = 99;
        assert_eq!(decoder.next_frame(), Err(FrameError::Unknown), "before its payload comes");
    }

    #[test]
    fn a_frame_that_is_skipped_asks_for_no_room_of_its_own() {
        let mut decoder = Decoder::new(10);
        Head::control(FrameKind::Done, MAX_UNKNOWN / 2).put(decoder.buffer());
        decoder.buffer()[0] = 99;
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.wanted(), MOST_SKIPPED);
    }

    proptest! {
        #[test]
        fn frames_survive_any_split(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
            step in 1..97_usize,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                task(payload).put(&mut bytes);
                bytes.extend_from_slice(payload);
            }
            let mut decoder = Decoder::new(200);
            let mut out = Vec::new();
            for part in bytes.chunks(step) {
                decoder.buffer().extend_from_slice(part);
                while let Some((head, payload)) = decoder.next_frame().expect("honest frames") {
                    prop_assert_eq!(head, task(&payload));
                    out.push(payload.to_vec());
                }
            }
            prop_assert_eq!(out, payloads);
        }

        #[test]
        fn large_frames_survive_any_split_and_way_of_reading(
            sizes in prop::collection::vec(prop_oneof![0..200_usize, LEAST - 40..LEAST + 40, LEAST..3 * LEAST], 1..12),
            steps in prop::collection::vec((any::<bool>(), 1..50_000_usize), 1..20),
        ) {
            let payloads: Vec<Vec<u8>> = sizes.iter().zip(1..).map(|(size, fill)| vec![fill; *size]).collect();
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| {
                let mut frame = Vec::new();
                task(payload).put(&mut frame);
                frame.extend_from_slice(payload);
                frame
            }).collect();
            let mut decoder = Decoder::new(3 * LEAST as u32);
            decoder.go_on(3 * LEAST as u32, Shelf::new(6 * LEAST));
            let (mut left, mut out, mut steps) = (bytes.as_slice(), Vec::new(), steps.iter().cycle());
            while !left.is_empty() {
                let (by_room, step) = steps.next().expect("endless");
                let mut step = left.len().min(*step);
                if *by_room {
                    match decoder.room(4 * LEAST) {
                        Room::Shared(buffer, most) => {
                            step = step.min(most);
                            prop_assert!(buffer.capacity() >= buffer.len() + step);
                            buffer.extend_from_slice(&left[..step]);
                        }
                        Room::Own(block, most) => {
                            step = step.min(most);
                            prop_assert!(block.capacity() >= block.len() + step);
                            block.extend_from_slice(&left[..step]);
                        }
                    }
                } else {
                    decoder.buffer().extend_from_slice(&left[..step]);
                }
                prop_assert!(step > 0);
                left = &left[step..];
                while let Some((head, payload)) = decoder.next_frame().expect("honest frames") {
                    prop_assert_eq!(head, task(&payload));
                    out.push(payload.to_vec());
                }
            }
            prop_assert!(out == payloads);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::new(500);
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some((head, payload))) = decoder.next_frame() {
                prop_assert!(payload.len() == head.length as usize && head.length <= 500);
            }
            prop_assert!(decoder.wanted() > 0);
        }
    }
}

//! Frames: a fixed header and an opaque payload, little-endian.
//!
//! Pure. The decoder never allocates for a length it has not checked, skips a
//! little of kinds it does not know, and gives errors, never panics.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Version of the protocol; part of the hello.
pub const VERSION: u32 = 1;

/// Bytes of a header on the wire.
pub const HEADER: usize = 32;

/// Payloads from this size on have a block of their own, in bytes.
const LARGE: u32 = 256 << 10;

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

/// Cuts a stream of bytes into frames. Feed it through [`Decoder::buffer`].
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: u32,
    skip: usize,
    /// How many more bytes of unknown kinds are skipped.
    unknown: u32,
}

impl Decoder {
    /// A decoder that accepts payloads up to `limit` bytes.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { buffer: BytesMut::new(), limit, skip: 0, unknown: MAX_UNKNOWN }
    }

    /// The same decoder with another limit for frames to come.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Where received bytes are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How many more bytes the frame that has begun needs, at least 1; of one
    /// that is skipped, how many are worth a read.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.skip > 0 {
            return self.skip.min(LARGE as usize);
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
            if self.buffer.len() < HEADER + length as usize {
                return Ok(None);
            }
            self.buffer.advance(HEADER);
            let payload = self.buffer.split_to(length as usize).freeze();
            if length >= LARGE && self.buffer.is_empty() {
                // What is left of its block would keep the whole of it until
                // the next frame comes.
                self.buffer = BytesMut::new();
            }
            return Ok(Some((Head { kind, flags, function, length, ticket, index, attempt }, payload)));
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
        assert_eq!(decoder.wanted(), LARGE as usize);
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

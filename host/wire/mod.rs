//! What host and worker say to each other: frames, messages, and the memory
//! they share. Messages ↔ bytes is pure; only the page maps memory.

pub mod frame;
pub mod integer;
pub mod message;
pub mod objects;
pub mod page;
pub mod report;
pub mod run;
pub mod shelf;
pub mod socket;

//! Writes an item: what serialises as bytes as it stands, all else as JSON.

use std::io;

use serde_json::ser::{CompactFormatter, Formatter};

use crate::wire::message::ItemForm;

/// Compact JSON, but for bytes at the top.
pub(super) struct ItemFormat<'a> {
    form: &'a mut ItemForm,
    nested: bool,
}

impl<'a> ItemFormat<'a> {
    /// Says in `form` what was written.
    pub(super) fn new(form: &'a mut ItemForm) -> Self {
        Self { form, nested: false }
    }
}

impl Formatter for ItemFormat<'_> {
    fn write_byte_array<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        if self.nested {
            return CompactFormatter.write_byte_array(writer, value);
        }
        *self.form = ItemForm::Raw;
        writer.write_all(value)
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.nested = true;
        CompactFormatter.begin_array(writer)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.nested = true;
        CompactFormatter.begin_object(writer)
    }
}

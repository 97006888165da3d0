//! Placeholders that no item of a run can fill: told before anything runs.

use crate::cli::args::io::Mode;
use crate::cli::input::Format;
use crate::describe::Function;
use crate::error::Error;
use crate::placeholder::{Placeholder, Template};
use crate::value::ty::Ty;
use crate::wire::message::Abi;

/// What is known of all items of a run.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// `--id` was given, and can find something.
    id: bool,
    /// They are files, or may be.
    files: bool,
    /// The most elements that one can have, being an array.
    elements: usize,
}

impl Known {
    /// What the input tells. `format` is `None` where there is none, or where
    /// only its first byte will tell: JSON in either case.
    #[must_use]
    pub fn of(format: Option<Format>, has_header: bool, id: bool) -> Self {
        let (files, arrays) = match format {
            Some(Format::Files) => (true, false),
            Some(Format::Lines) => (false, false),
            Some(Format::Csv) => (false, !has_header),
            // They can be of a run over files.
            Some(Format::Records) => (true, true),
            Some(Format::Json | Format::Jsonl) | None => (false, true),
        };
        let raw = matches!(format, Some(Format::Files | Format::Lines));
        Self { id: id && !raw, files, elements: if arrays { usize::MAX } else { 0 } }
    }

    /// The same, where the function that takes the items tells more; `left`
    /// are the parameters that `--with` does not fix.
    #[must_use]
    pub fn called(self, mode: Mode, abi: Abi, function: Option<&Function>, left: usize) -> Self {
        let (Abi::Core | Abi::Component, Some(function)) = (abi, function) else { return self };
        let takes_arrays = |ty: &Ty| matches!(ty, Ty::List(_) | Ty::Tuple(_) | Ty::Option(_));
        let elements = match mode {
            Mode::Starmap => left,
            Mode::Map | Mode::Imap | Mode::ImapUnordered | Mode::Listen => {
                let arrays = function.ty.params.iter().any(|param| takes_arrays(&param.ty));
                if arrays { usize::MAX } else { 0 }
            }
            Mode::Apply => usize::MAX,
        };
        Self { elements: self.elements.min(elements), ..self }
    }

    /// Refuses a template that asks for what no item has; `place` is where it
    /// stands.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the placeholder.
    pub fn check(self, place: &str, template: &Template) -> Result<(), Error> {
        for slot in template.placeholders() {
            let why = match slot {
                Placeholder::Item | Placeholder::Index => continue,
                Placeholder::Id if self.id => continue,
                Placeholder::Name | Placeholder::Stem | Placeholder::Path if self.files => continue,
                Placeholder::Element(number) if number.get() <= self.elements => continue,
                Placeholder::Id => "needs --id, which names a field of JSON or CSV items".to_owned(),
                Placeholder::Name | Placeholder::Stem | Placeholder::Path => {
                    "is for items that are files (--input files)".to_owned()
                }
                Placeholder::Element(_) if self.elements == 0 => "is for items that are arrays (--starmap)".to_owned(),
                Placeholder::Element(_) => format!("is more than the {} elements of an item", self.elements),
            };
            return Err(Error::Usage(format!("{place}: {slot} {why}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ty::{Field, FuncTy};

    fn refused(known: Known, text: &str) -> bool {
        known.check("-o", &Template::parse(text)).is_err()
    }

    #[test]
    fn each_input_offers_its_own() {
        for (format, header, id, right, wrong) in [
            (Some(Format::Json), false, false, "{}{index}{1}", "{id}"),
            (Some(Format::Jsonl), false, true, "{id}", "{stem}"),
            (Some(Format::Files), false, true, "{name}{stem}{path}", "{id}"),
            (Some(Format::Lines), false, false, "{}", "{1}"),
            (Some(Format::Csv), true, true, "{id}", "{1}"),
            (Some(Format::Csv), false, false, "{2}", "{path}"),
            (Some(Format::Records), false, true, "{id}{stem}{1}", "{id}x{name}{nope}{1}"),
            (None, false, false, "{1}", "{name}"),
        ] {
            let known = Known::of(format, header, id);
            assert!(!refused(known, right), "{format:?} {right}");
            assert!(refused(known, wrong) || format == Some(Format::Records), "{format:?} {wrong}");
        }
    }

    #[test]
    fn a_function_tells_how_many_elements_there_can_be() {
        let params = vec![Field { name: "n".into(), ty: Ty::I32 }];
        let function =
            Function { interface: None, name: "f".into(), ty: FuncTy { params, results: Vec::new() }, hidden: false };
        let json = Known::of(None, false, false);
        let map = json.called(Mode::Map, Abi::Core, Some(&function), 1);
        assert!(refused(map, "{1}") && !refused(map, "{}"));
        let star = json.called(Mode::Starmap, Abi::Core, Some(&function), 1);
        assert!(!refused(star, "{1}") && refused(star, "{2}"));
        assert!(!refused(json.called(Mode::Map, Abi::Command, None, 0), "{3}"));
    }
}

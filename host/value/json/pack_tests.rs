//! What is read without values in between is what the general reader reads:
//! the same values, and only what it takes, too.

use proptest::prelude::*;

use super::tests::{almost_json, field, list, names, option, typed_values, types, written};
use super::*;
use crate::value::args::Plan;
use crate::value::packed::Packed;
use crate::value::ty::{Case, Field, Ty};
use crate::value::{Value, ValueError};
use crate::wire::message::{BytesAs, ItemForm, Spread};

/// Packed from the general reader's value.
fn by_reader(text: &[u8], ty: &Ty) -> Result<Packed<'static>, ValueError> {
    let value = read(text, ty)?;
    let mut packed = Packed::default();
    packed.push(&value, ty)?;
    Ok(packed)
}

/// The reader's verdict on all parameters together.
fn by_arguments(plan: &Plan, text: &[u8], fields: &[Field]) -> Result<Packed<'static>, ValueError> {
    let mut packed = Packed::default();
    let values: Vec<Value> = plan.arguments(text, ItemForm::Json)?;
    values.iter().zip(fields).try_for_each(|(value, field)| packed.push(value, &field.ty))?;
    Ok(packed)
}

/// Fails where both readers take a text and differ, or only this one takes it.
fn agrees(text: &[u8], ty: &Ty) -> Result<(), TestCaseError> {
    let (packed, read) = (pack(text, ty, false), by_reader(text, ty));
    match (packed, read) {
        (Some(packed), read) => prop_assert_eq!(Ok(packed), read, "{}", text.escape_ascii()),
        (None, Err(_)) => {}
        (None, Ok(_)) => {
            let plan = Plan::new(&[field("p", ty.clone())], Spread::One, &[], false).unwrap();
            prop_assert!(plan.pack(text, ItemForm::Json).is_ok());
        }
    }
    Ok(())
}

fn person() -> Ty {
    let fields = [("full-name", Ty::String), ("age", Ty::U8), ("nick", option(Ty::String)), ("tags", list(Ty::String))];
    Ty::Record(fields.into_iter().map(|(name, ty)| field(name, ty)).collect())
}

fn shape() -> Ty {
    let cases = [("dot", None), ("circle", Some(Ty::F64)), ("maybe", Some(option(Ty::U8)))];
    Ty::Variant(cases.into_iter().map(|(name, ty)| Case { name: name.to_owned(), ty }).collect())
}

#[test]
fn texts_as_programs_write_them_need_no_general_reader() {
    for (text, ty) in [
        (r#"{"full-name":"Ada","age":36,"nick":"A","tags":["a","b\n"]}"#, person()),
        (r#" { "full-name" : "Ada" , "age" : 36 , "tags" : [ ] } "#, person()),
        (r#"[{"full-name":"Ada","age":36,"tags":[]},{"age":1,"tags":["x"],"full-name":"y"}]"#, list(person())),
        ("[1,-2,999999999999999999,-9223372036854775808,\"7\",3.0,1e3]", list(Ty::S64)),
        ("[0,255,4.0]", list(Ty::U8)),
        ("[1,2.5,-0.0,\"nan\",\"-inf\",1e300]", list(Ty::F64)),
        ("[[1],[],[2,3]]", list(list(Ty::U16))),
        ("[\"a\",\"\",\"\\ud83d\\ude00\"]", list(Ty::String)),
        ("[null,{\"some\":null},{\"some\":1}]", list(option(option(Ty::U8)))),
        ("[{\"tag\":\"dot\"},{\"val\":1.5,\"tag\":\"circle\"},{\"tag\":\"maybe\"}]", list(shape())),
        (
            "[{\"tag\":\"circle\",\"val\":2},{\"tag\":\"maybe\",\"val\":1},{\"tag\":\"dot\",\"val\":null}]",
            list(shape()),
        ),
        ("[{\"ok\":null},{ \"err\" : \"x\" }]", list(Ty::Result(None, Some(Box::new(Ty::String))))),
        ("[\"dark-green\",\"darkGreen\"]", list(Ty::Enum(names(&["red", "dark-green"])))),
        ("{\"base64\":\"AP8=\"}", list(Ty::U8)),
    ] {
        let packed = pack(text.as_bytes(), &ty, false);
        assert!(packed.is_some(), "{text}");
        assert_eq!(packed.ok_or(ValueError::new("")), by_reader(text.as_bytes(), &ty), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_for_the_reader_to_tell() {
    let full = r#"{"full-name":"Ada","age":36,"tags":[]}"#;
    for (text, ty) in [
        (full.replace("36", "300"), person()),
        (full.replace("Ada\"", "\\ud800\""), person()),
        (full.replace("\"age\"", "\"full-name\""), person()),
        (full.replace("\"age\":36,", ""), person()),
        (full.replace("\"tags\"", "\"tag\""), person()),
        (format!("{full} {full}"), person()),
        ("[1,2".to_owned(), list(Ty::U32)),
        ("[1,]".to_owned(), list(Ty::U32)),
        ("[01]".to_owned(), list(Ty::U32)),
        ("[-1]".to_owned(), list(Ty::U64)),
        ("[1.5]".to_owned(), list(Ty::S64)),
        ("[NaN]".to_owned(), list(Ty::F64)),
        ("[1e400]".to_owned(), list(Ty::F64)),
        ("[18446744073709551616]".to_owned(), list(Ty::U64)),
        ("[1,2,3]".to_owned(), Ty::Tuple(vec![Ty::U8, Ty::U8])),
        ("[1]".to_owned(), Ty::Tuple(vec![Ty::U8, Ty::U8])),
        ("{\"tag\":\"circle\"}".to_owned(), shape()),
        ("{\"tag\":\"dot\",\"val\":1}".to_owned(), shape()),
        ("{\"tag\":\"dot\",\"tag\":\"dot\"}".to_owned(), shape()),
        ("{\"ok\":null,\"err\":null}".to_owned(), Ty::Result(None, None)),
    ] {
        assert_eq!(pack(text.as_bytes(), &ty, false), None, "{text}");
        let plan = Plan::new(&[field("p", ty.clone())], Spread::One, &[], false).unwrap();
        let error = plan.pack(text.as_bytes(), ItemForm::Json).map(|_| ()).unwrap_err();
        assert_eq!(Some(error), read(text.as_bytes(), &ty).err(), "{text}");
    }
}

#[test]
fn unknown_fields_are_ignored_only_where_they_may_be() {
    let text = br#"{"full-name":"Ada","height":1,"age":36,"tags":[]}"#;
    let plan = |ignore| Plan::new(&[field("p", person())], Spread::One, &[], ignore).unwrap();
    assert!(plan(false).pack(text, ItemForm::Json).is_err());
    let wanted = by_reader(br#"{"full-name":"Ada","age":36,"tags":[]}"#, &person());
    assert_eq!(plan(true).pack(text, ItemForm::Json), wanted);
}

#[test]
fn deep_values_end_at_the_same_depth() {
    for depth in [127, 128, 129, 200] {
        let ty = (0..depth).fold(Ty::Bool, |ty, _| list(ty));
        let text = "[".repeat(depth) + "true" + &"]".repeat(depth);
        assert_eq!(pack(text.as_bytes(), &ty, false).is_some(), depth <= 128, "{depth}");
        assert_eq!(read(text.as_bytes(), &ty).is_ok(), depth <= 128, "{depth}");
    }
}

/// A text with one thing about it changed.
fn mutated() -> impl Strategy<Value = (Ty, Vec<u8>)> {
    let bytes = prop::sample::select(b"{}[],:\"\\ue0123456789-+.nulltrue \n\xff\x01".to_vec());
    (typed_values(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5, bytes).prop_map(
        |((ty, value), first, second, how, byte)| {
            let mut text = written(&value, &ty, BytesAs::Array).into_bytes();
            let (at, to) = (first.index(text.len()), second.index(text.len()));
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                2 => drop(text.remove(at)),
                3 => drop(text.drain(at.min(to)..at.max(to))),
                _ => text.extend_from_within(at.min(to)..at.max(to)),
            }
            (ty, text)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2048) })]

    #[test]
    fn written_values_are_packed_as_the_reader_reads_them((ty, value) in typed_values(), base64 in any::<bool>()) {
        let text = written(&value, &ty, if base64 { BytesAs::Base64 } else { BytesAs::Array });
        let packed = pack(text.as_bytes(), &ty, false);
        prop_assert!(packed.is_some(), "{}", text);
        prop_assert_eq!(packed.ok_or(ValueError::new("")), by_reader(text.as_bytes(), &ty));
    }

    #[test]
    fn changed_texts_are_packed_as_the_reader_reads_them_or_not_at_all((ty, text) in mutated()) {
        agrees(&text, &ty)?;
    }

    #[test]
    fn random_texts_are_packed_as_the_reader_reads_them_or_not_at_all(text in almost_json(), ty in types()) {
        agrees(&text, &ty)?;
    }

    #[test]
    fn items_spread_over_parameters_are_packed_as_the_reader_reads_them(
        (first, one) in typed_values(),
        (second, two) in typed_values(),
        object in any::<bool>(),
        swapped in any::<bool>(),
    ) {
        let fields = [field("a", first), field("b", second)];
        let plan = Plan::new(&fields, Spread::Star, &[], false).unwrap();
        let [one, two] = [(one, &fields[0].ty), (two, &fields[1].ty)]
            .map(|(value, ty)| written(&value, ty, BytesAs::Array));
        let text = match (object, swapped) {
            (false, _) => format!("[{one},{two}]"),
            (true, false) => format!("{{\"a\":{one},\"b\":{two}}}"),
            (true, true) => format!("{{\"b\":{two},\"a\":{one}}}"),
        };
        let wanted = by_arguments(&plan, text.as_bytes(), &fields);
        prop_assert_eq!(plan.pack(text.as_bytes(), ItemForm::Json), wanted);
    }
}

//! The mapping's rules, one by one, and as properties over random types.

use proptest::prelude::*;

use super::*;
use crate::value::args::Plan;
use crate::value::ty::{Case, Field, Ty};
use crate::value::{Numbers, Value, cells};
use crate::wire::message::{BytesAs, ItemForm, Spread};

pub(crate) fn field(name: &str, ty: Ty) -> Field {
    Field { name: name.to_owned(), ty }
}

pub(crate) fn list(item: Ty) -> Ty {
    Ty::List(Box::new(item))
}

pub(crate) fn option(item: Ty) -> Ty {
    Ty::Option(Box::new(item))
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn person() -> Ty {
    Ty::Record(vec![field("full-name", Ty::String), field("age", Ty::U8), field("nick", option(Ty::String))])
}

fn shape() -> Ty {
    Ty::Variant(vec![
        Case { name: "dot".to_owned(), ty: None },
        Case { name: "circle".to_owned(), ty: Some(Ty::F64) },
        Case { name: "rest".to_owned(), ty: Some(option(Ty::U8)) },
    ])
}

#[track_caller]
fn ok(text: &str, ty: &Ty) -> Value {
    read(text.as_bytes(), ty).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn err(text: &str, ty: &Ty) -> String {
    read(text.as_bytes(), ty).map(|value| panic!("{text} gave {value:?}")).unwrap_or_else(|error| error.to_string())
}

#[track_caller]
pub(crate) fn written(value: &Value, ty: &Ty, bytes: BytesAs) -> String {
    let mut out = Vec::new();
    write(value, ty, bytes, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Reads and writes; the text of most types is the same both ways.
#[track_caller]
fn same(text: &str, ty: &Ty) {
    assert_eq!(written(&ok(text, ty), ty, BytesAs::Array), text);
}

#[test]
fn an_error_says_where_and_what_does_not_fit() {
    let size = Ty::Record(vec![field("width", Ty::U8)]);
    let ty = list(Ty::Record(vec![field("size", size)]));
    let text = r#"[{"size":{"width":1}},{"size":{"width":300}}]"#;
    assert_eq!(err(text, &ty), "$[1].size.width: 300 does not fit u8");
    assert_eq!(err("[1,2,\"x\"]", &list(Ty::U32)), "$[2]: expected u32, found a string");
    assert_eq!(err("[1,2", &list(Ty::U32)), "$: not JSON: expected `,` or `]`, found the end at byte 4");
    assert_eq!(err("1 2", &Ty::U8), "$: not JSON: expected the end, found `2` at byte 2");
}

#[test]
fn records_are_objects_in_any_order_and_convention() {
    let wanted = Value::Record(vec![
        Value::String("Ada".to_owned()),
        Value::U8(36),
        Value::Option(Some(Box::new(Value::String("A".to_owned())))),
    ]);
    assert_eq!(ok(r#"{"age":36,"nick":"A","full-name":"Ada"}"#, &person()), wanted);
    assert_eq!(ok(r#" { "full_name" : "Ada" , "age" : 36 , "nick" : "A" } "#, &person()), wanted);
    assert_eq!(ok(r#"{"fullName":"Ada","age":3.6e1,"nick":"A"}"#, &person()), wanted);
    same(r#"{"full-name":"Ada","age":36,"nick":null}"#, &person());
}

#[test]
fn record_fields_are_checked() {
    assert_eq!(err(r#"{"full-name":"Ada"}"#, &person()), "$: missing field \"age\"");
    assert_eq!(
        err(r#"{"full-name":"Ada","age":1,"nik":"A"}"#, &person()),
        "$: unknown field \"nik\"; did you mean \"nick\"?"
    );
    assert_eq!(err(r#"{"age":1,"age":2}"#, &person()), "$: field \"age\" is given twice");
    assert_eq!(err(r#"{"full_name":"a","fullName":"b"}"#, &person()), "$: field \"full-name\" is given twice");
    assert_eq!(err("[]", &person()), "$: expected an object, found an array");
}

#[test]
fn variants_take_tag_and_val_in_any_order() {
    same(r#"{"tag":"dot"}"#, &shape());
    same(r#"{"tag":"circle","val":1.5}"#, &shape());
    assert_eq!(ok(r#"{"val":1.5,"tag":"circle"}"#, &shape()), Value::Variant(1, Some(Box::new(Value::F64(1.5)))));
    assert_eq!(ok(r#"[{"val":2,"tag":"circle"},{"tag":"dot"}]"#, &list(shape())), {
        Value::List(vec![Value::Variant(1, Some(Box::new(Value::F64(2.0)))), Value::Variant(0, None)])
    });
    assert_eq!(ok(r#"{"tag":"rest"}"#, &shape()), Value::Variant(2, Some(Box::new(Value::Option(None)))));
    assert_eq!(ok(r#"{"tag":"dot","val":null}"#, &shape()), Value::Variant(0, None));
    assert!(err(r#"{"tag":"circle"}"#, &shape()).contains("needs a \"val\""));
    assert!(err(r#"{"tag":"dot","val":1}"#, &shape()).contains("takes no \"val\""));
    assert!(err(r#"{"tag":"circel","val":1}"#, &shape()).ends_with("did you mean \"circle\"?"));
    assert!(err(r#"{"tag":"dot","tag":"dot"}"#, &shape()).ends_with("given twice"));
    assert_eq!(err(r#"{"val":"x","tag":"circle"}"#, &shape()), "$.val: \"x\" is not a f64");
}

#[test]
fn enums_and_flags_are_names() {
    let color = Ty::Enum(names(&["red", "dark-green"]));
    same("\"dark-green\"", &color);
    assert_eq!(ok("\"darkGreen\"", &color), Value::Enum(1));
    assert!(err("\"rad\"", &color).ends_with("did you mean \"red\"?"));
    let flags = Ty::Flags(names(&["read", "write", "exec"]));
    same(r#"["read","exec"]"#, &flags);
    assert_eq!(ok(r#"["exec","read"]"#, &flags), Value::Flags(vec![0, 2]));
    assert!(err(r#"["read","read"]"#, &flags).contains("given twice"));
    assert!(err(r#"["red"]"#, &flags).starts_with("$[0]: unknown flag"));
}

#[test]
fn tuples_are_arrays_of_exactly_their_length() {
    let pair = Ty::Tuple(vec![Ty::U8, Ty::String]);
    same(r#"[1,"a"]"#, &pair);
    assert_eq!(err("[1]", &pair), "$: expected 2 elements for tuple<u8, string>, found 1");
    assert_eq!(err("[1,\"a\",{\"x\":[]}]", &pair), "$: expected 2 elements for tuple<u8, string>, found 3");
}

#[test]
fn options_and_results_nest() {
    let inner = option(option(Ty::U8));
    same("null", &inner);
    same("{\"some\":null}", &inner);
    same("{\"some\":5}", &inner);
    assert!(err("5", &inner).contains("{\"some\":…}"));
    let result = Ty::Result(Some(Box::new(Ty::U8)), None);
    same("{\"ok\":1}", &result);
    same("{\"err\":null}", &result);
    assert!(err("{}", &result).contains("found {}"));
    assert!(err("{\"ok\":1,\"err\":null}", &result).contains("two keys"));
    assert_eq!(err("{\"err\":1}", &result), "$.err: expected null, found a number");
}

#[test]
fn wide_integers_are_exact_and_may_be_strings() {
    for text in ["18446744073709551615", "0", "9007199254740993"] {
        same(text, &Ty::U64);
        assert_eq!(ok(&format!("\"{text}\""), &Ty::U64), ok(text, &Ty::U64));
    }
    same("-9223372036854775808", &Ty::S64);
    assert!(err("\"1e3\"", &Ty::U64).contains("not a decimal u64"));
    assert!(err("\"\"", &Ty::S64).contains("not a decimal s64"));
    assert!(err("\"5\"", &Ty::U32).contains("found a string"));
    assert_eq!(written(&ok("4294967295", &Ty::I32), &Ty::I32, BytesAs::Array), "-1");
}

#[test]
fn floats_are_shortest_and_special_ones_strings() {
    for text in ["\"nan\"", "\"inf\"", "\"-inf\"", "0.1", "-0.0", "1e+300", "5e-324"] {
        same(text, &Ty::F64);
    }
    same("0.1", &Ty::F32);
    same("[1.5,\"inf\"]", &list(Ty::F32));
    assert!(err("1e400", &Ty::F64).contains("1e400 does not fit f64"));
    assert!(err("\"NaN\"", &Ty::F64).contains("is not a f64"));
}

#[test]
fn characters_are_one_scalar() {
    assert_eq!(ok("\"\\ud83d\\ude00\"", &Ty::Char), Value::Char('😀'));
    same("\"é\"", &Ty::Char);
    assert!(err("\"ab\"", &Ty::Char).contains("expected one character"));
    assert!(err("\"\"", &Ty::Char).contains("expected one character"));
}

#[test]
fn strings_are_escaped_both_ways() {
    let text = r#""a\"\\/\b\f\n\r\t\u00e9\u0000""#;
    assert_eq!(ok(text, &Ty::String), Value::String("a\"\\/\u{8}\u{c}\n\r\té\0".to_owned()));
    same(r#""\u0001\n\"\\é\u001f""#, &Ty::String);
    for bad in ["\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\x\"", "\"\\u12\"", "\"a\nb\"", "\"a", "\"\\"] {
        assert!(err(bad, &Ty::String).contains("not JSON"), "{bad}");
    }
    assert!(read(b"\"\xff\"", &Ty::String).is_err());
}

#[test]
fn bytes_are_arrays_or_base64() {
    let bytes = list(Ty::U8);
    assert_eq!(ok("[0,255]", &bytes), Value::Bytes(vec![0, 255]));
    assert_eq!(ok("{\"base64\":\"AP8=\"}", &bytes), Value::Bytes(vec![0, 255]));
    assert_eq!(ok("{\"base64\":\"AP8\"}", &bytes), Value::Bytes(vec![0, 255]));
    assert_eq!(err("[256]", &bytes), "$[0]: 256 does not fit u8");
    assert!(err("{\"base64\":\"*\"}", &bytes).starts_with("$.base64: "));
    assert!(err("\"abc\"", &bytes).contains("{\"base64\":…}"));
    let value = Value::Bytes(b"hi\xff".to_vec());
    assert_eq!(written(&value, &bytes, BytesAs::Array), "[104,105,255]");
    assert_eq!(written(&value, &bytes, BytesAs::Base64), "{\"base64\":\"aGn/\"}");
    assert_eq!(written(&Value::Bytes(b"hi".to_vec()), &bytes, BytesAs::Utf8), "\"hi\"");
    let error = write(&value, &bytes, BytesAs::Utf8, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "$: not UTF-8 at byte 2");
}

#[test]
fn depth_is_bounded() {
    let deep = (0..200).fold(Ty::U8, |ty, _| list(ty));
    let text = "[".repeat(200) + &"]".repeat(200);
    assert!(read(text.as_bytes(), &deep).is_err());
    let text = "[".repeat(100_000);
    assert!(validate(text.as_bytes()).unwrap_err().message.contains("deeper than"));
    let text = "[".repeat(128) + &"]".repeat(128);
    assert_eq!(validate(text.as_bytes()), Ok(()));
}

#[test]
fn a_text_over_the_limit_is_not_finished() {
    let value = Value::Bytes(vec![200; 1 << 20]);
    let mut out = Vec::new();
    assert_eq!(write_within(&value, &list(Ty::U8), BytesAs::Array, 1000, &mut out), Err(WriteError::TooLong(1000)));
    assert!(out.len() < 1100 && out.capacity() < 4000);
    let nested = Value::List(vec![Value::Option(None); 1 << 16]);
    let result = write_within(&nested, &list(option(Ty::U8)), BytesAs::Array, 1000, &mut Vec::new());
    assert_eq!(result, Err(WriteError::TooLong(1000)));
    let exact = write_within(&Value::Bytes(vec![1, 2]), &list(Ty::U8), BytesAs::Array, 5, &mut Vec::new());
    assert_eq!(exact, Ok(()));
}

#[test]
fn guest_json_is_checked_and_put_on_one_line() {
    let mut out = b"x".to_vec();
    compact(b" { \"a\" : [ 1 ,\n2.50 , \"b \\n c\" ] , \"b\" : { } , \"c\" : [ ] } \n", &mut out).unwrap();
    assert_eq!(out, br#"x{"a":[1,2.50,"b \n c"],"b":{},"c":[]}"#);
    let bad: [&[u8]; 19] = [
        b"",
        b"NaN",
        b"[1,]",
        b"{\"a\":1,}",
        b"{a:1}",
        b"1 2",
        b"01",
        b"1.",
        b"-",
        b"1e",
        b"1e400",
        b"\"\xff\"",
        b"\"\\ud800\"",
        b"{\"a\":1,\"a\":2}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"[{\"k\":{\"x\":1,\"y\":2,\"x\":3}}]",
        b"[1}",
        b"\xef\xbb\xbf1",
        b"'a'",
    ];
    for text in bad {
        let mut out = b"kept".to_vec();
        assert!(compact(text, &mut out).is_err(), "{}", text.escape_ascii());
        assert_eq!(out, b"kept");
        assert!(validate(text).is_err());
    }
    assert_eq!(validate(b"[{\"a\":{\"b\":1},\"b\":{\"a\":1}},{\"a\":1}]"), Ok(()));
}

#[test]
fn item_text_is_a_strings_characters_or_the_text_itself() {
    assert_eq!(&*item_text(b" \"a\\n\" ").unwrap(), b"a\n");
    assert_eq!(&*item_text(b"[1, 2]").unwrap(), b"[1, 2]");
    assert!(item_text(b"\"a\" 1").is_err());
}

#[test]
fn cells_are_read_by_type() {
    let cell = |text, ty: &Ty| cells::cell(text, ty).map_err(|error| error.to_string());
    assert_eq!(cell("", &option(Ty::U8)), Ok(Value::Option(None)));
    assert_eq!(cell("", &Ty::String), Ok(Value::String(String::new())));
    assert_eq!(cell("", &Ty::U8), Err("$: an empty cell does not fit u8".to_owned()));
    assert_eq!(cell("007", &Ty::U8), Ok(Value::U8(7)));
    assert_eq!(cell(" -1 ", &Ty::S64), Ok(Value::S64(-1)));
    assert_eq!(cell("3.0", &Ty::U8), Ok(Value::U8(3)));
    assert_eq!(cell("-", &Ty::S8), Err("$: \"-\" does not fit s8".to_owned()));
    assert_eq!(cell("True", &Ty::Bool), Ok(Value::Bool(true)));
    assert_eq!(cell("inf", &Ty::F64), Ok(Value::F64(f64::INFINITY)));
    assert_eq!(cell("x", &Ty::F64), Err("$: \"x\" does not fit f64".to_owned()));
    assert_eq!(cell("[1,2]", &list(Ty::U16)), Ok(Value::Numbers(Numbers::U16(vec![1, 2]))));
    let row = br#"{"full name":"Ada","age":"36","nick":""}"#;
    let plan = Plan::new(&[field("p", person())], Spread::One, &[], false).unwrap();
    let ada = Value::Record(vec![Value::String("Ada".to_owned()), Value::U8(36), Value::Option(None)]);
    assert_eq!(plan.arguments(row, ItemForm::Cells), Ok(vec![ada.clone()]));
    assert_eq!(plan.arguments(br#"["Ada","36",""]"#, ItemForm::Cells), Ok(vec![ada]));
    let bad = plan.arguments(br#"{"full name":"Ada","age":"x"}"#, ItemForm::Cells).unwrap_err();
    assert_eq!(bad.to_string(), "$.age: \"x\" does not fit u8");
}

#[test]
fn columns_without_a_field_are_errors_unless_ignored() {
    let row = br#"{"age":"3","other":"x"}"#;
    let params = [field("age", Ty::U8)];
    let strict = Plan::new(&params, Spread::Star, &[], false).unwrap();
    assert!(strict.arguments(row, ItemForm::Cells).unwrap_err().message.contains("unknown field \"other\""));
    let lenient = Plan::new(&params, Spread::Star, &[], true).unwrap();
    assert_eq!(lenient.arguments(row, ItemForm::Cells), Ok(vec![Value::U8(3)]));
}

#[test]
fn items_spread_over_parameters() {
    let params = [field("base", Ty::U8), field("exp", Ty::U8)];
    let star = Plan::new(&params, Spread::Star, &[], false).unwrap();
    let both = Ok(vec![Value::U8(2), Value::U8(3)]);
    assert_eq!(star.arguments(b"[2,3]", ItemForm::Json), both);
    assert_eq!(star.arguments(br#"{"exp":3,"base":2}"#, ItemForm::Json), both);
    assert_eq!(star.arguments(br#"{"exp":"3","base":"2"}"#, ItemForm::Cells), both);
    let error = star.arguments(b"[2]", ItemForm::Json).unwrap_err().to_string();
    assert_eq!(error, "$: expected 2 elements for 2 parameters (\"base\", \"exp\"), found 1");
    assert!(star.arguments(b"2", ItemForm::Json).unwrap_err().message.contains("an array or object for 2 parameters"));

    let with = [("exp".to_owned(), "3".to_owned())];
    for spread in [Spread::One, Spread::Auto] {
        let plan = Plan::new(&params, spread, &with, false).unwrap();
        assert_eq!(plan.arguments(b"2", ItemForm::Json), both);
        assert_eq!(plan.arguments(b"2", ItemForm::Raw), both);
        assert_eq!(plan.sole(), None);
    }
    let plan = Plan::new(&params, Spread::Star, &with, false).unwrap();
    assert_eq!(plan.arguments(b"[2]", ItemForm::Json), both);
    assert_eq!(plan.arguments(br#"{"base":2}"#, ItemForm::Json), both);
    let error = plan.arguments(br#"{"base":2,"exp":4}"#, ItemForm::Json).unwrap_err();
    assert!(error.message.contains("already fixed by --with"));
}

#[test]
fn plans_refuse_what_cannot_be_called() {
    let params = [field("base", Ty::U8), field("exp", Ty::U8)];
    let plan = |spread, with: &[(&str, &str)]| {
        let with: Vec<_> = with.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Plan::new(&params, spread, &with, false).map(|_| ()).map_err(|error| error.message)
    };
    assert!(plan(Spread::One, &[]).unwrap_err().contains("use --starmap"));
    assert!(plan(Spread::One, &[("base", "1"), ("exp", "1")]).unwrap_err().contains("takes no parameters"));
    assert!(plan(Spread::Star, &[("bse", "1")]).unwrap_err().contains("did you mean \"base\"?"));
    assert!(plan(Spread::Star, &[("base", "x")]).unwrap_err().starts_with("--with base: "));
    assert!(plan(Spread::Star, &[("base", "1"), ("base", "1")]).unwrap_err().contains("twice"));
    let none = Plan::new(&[], Spread::Auto, &[], false).unwrap();
    for item in ["null", "[]", "{}"] {
        assert_eq!(none.arguments(item.as_bytes(), ItemForm::Json), Ok(vec![]));
    }
}

#[test]
fn raw_items_are_text_and_bytes_as_they_are() {
    let plan = |ty| Plan::new(&[field("p", ty)], Spread::One, &[], false).unwrap();
    assert_eq!(plan(list(Ty::U8)).arguments(b"\xff\0", ItemForm::Raw), Ok(vec![Value::Bytes(vec![255, 0])]));
    assert_eq!(plan(Ty::String).arguments(b"\"a\"", ItemForm::Raw), Ok(vec![Value::String("\"a\"".to_owned())]));
    assert!(plan(Ty::String).arguments(b"\xff", ItemForm::Raw).is_err());
    assert_eq!(plan(Ty::U8).arguments(b"7", ItemForm::Raw), Ok(vec![Value::U8(7)]));
    assert_eq!(plan(Ty::U8).sole(), Some(&Ty::U8));
}

/// Random types, and values of them.
pub(crate) fn types() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            Ty::Bool,
            Ty::S8,
            Ty::U8,
            Ty::S16,
            Ty::U16,
            Ty::S32,
            Ty::U32,
            Ty::S64,
            Ty::U64,
            Ty::F32,
            Ty::F64,
            Ty::Char,
            Ty::String,
        ]),
        Just(Ty::Enum(names(&["a", "b-c"]))),
        Just(Ty::Flags(names(&["x", "y-z", "w"]))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(list),
            inner.clone().prop_map(option),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Ty::Tuple),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|types| Ty::Record(
                types.into_iter().enumerate().map(|(at, ty)| field(&format!("field-{at}"), ty)).collect()
            )),
            prop::collection::vec(prop::option::of(inner.clone()), 1..4).prop_map(|types| Ty::Variant(
                types.into_iter().enumerate().map(|(at, ty)| Case { name: format!("case-{at}"), ty }).collect()
            )),
            (prop::option::of(inner.clone()), prop::option::of(inner))
                .prop_map(|(ok, err)| Ty::Result(ok.map(Box::new), err.map(Box::new))),
        ]
    })
}

pub(crate) fn values(ty: &Ty) -> BoxedStrategy<Value> {
    fn boxed(ty: Option<&Ty>) -> BoxedStrategy<Option<Box<Value>>> {
        match ty {
            None => Just(None).boxed(),
            Some(ty) => values(ty).prop_map(|value| Some(Box::new(value))).boxed(),
        }
    }
    macro_rules! numbers {
        ($kind:ident, $rust:ty) => {
            prop::collection::vec(any::<$rust>(), 0..5).prop_map(|items| Value::Numbers(Numbers::$kind(items))).boxed()
        };
    }
    match ty {
        Ty::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Ty::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Ty::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Ty::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Ty::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Ty::S32 | Ty::I32 => any::<i32>().prop_map(Value::S32).boxed(),
        Ty::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Ty::S64 | Ty::I64 => any::<i64>().prop_map(Value::S64).boxed(),
        Ty::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        Ty::F32 => any::<f32>().prop_map(Value::F32).boxed(),
        Ty::F64 => any::<f64>().prop_map(Value::F64).boxed(),
        Ty::Char => any::<char>().prop_map(Value::Char).boxed(),
        Ty::String => any::<String>().prop_map(Value::String).boxed(),
        Ty::List(item) => match **item {
            Ty::U8 => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
            Ty::S8 => numbers!(S8, i8),
            Ty::S16 => numbers!(S16, i16),
            Ty::U16 => numbers!(U16, u16),
            Ty::S32 => numbers!(S32, i32),
            Ty::U32 => numbers!(U32, u32),
            Ty::S64 => numbers!(S64, i64),
            Ty::U64 => numbers!(U64, u64),
            Ty::F32 => numbers!(F32, f32),
            Ty::F64 => numbers!(F64, f64),
            _ => prop::collection::vec(values(item), 0..4).prop_map(Value::List).boxed(),
        },
        Ty::Record(fields) => {
            fields.iter().map(|field| values(&field.ty)).collect::<Vec<_>>().prop_map(Value::Record).boxed()
        }
        Ty::Tuple(types) => types.iter().map(values).collect::<Vec<_>>().prop_map(Value::Tuple).boxed(),
        Ty::Variant(cases) => {
            let cases = cases.clone();
            (0..cases.len())
                .prop_flat_map(move |at| {
                    boxed(cases[at].ty.as_ref()).prop_map(move |value| Value::Variant(at as u32, value))
                })
                .boxed()
        }
        Ty::Enum(names) => (0..names.len() as u32).prop_map(Value::Enum).boxed(),
        Ty::Flags(names) => prop::sample::subsequence((0..names.len() as u32).collect::<Vec<_>>(), 0..=names.len())
            .prop_map(Value::Flags)
            .boxed(),
        Ty::Option(item) => prop::option::of(values(item)).prop_map(|value| Value::Option(value.map(Box::new))).boxed(),
        Ty::Result(ok, err) => prop_oneof![
            boxed(ok.as_deref()).prop_map(|value| Value::Result(Ok(value))),
            boxed(err.as_deref()).prop_map(|value| Value::Result(Err(value))),
        ]
        .boxed(),
        Ty::Unsupported(_) => Just(Value::Bool(false)).boxed(),
    }
}

pub(crate) fn typed_values() -> impl Strategy<Value = (Ty, Value)> {
    types().prop_flat_map(|ty| values(&ty).prop_map(move |value| (ty.clone(), value)))
}

/// Bytes that look like JSON more often than chance would.
pub(crate) fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\u",
        "d800",
        "null",
        "true",
        "1",
        "-",
        ".",
        "e",
        "\"tag\"",
        "\"val\"",
        "\"case-0\"",
        "\"ok\"",
        "\"some\"",
        "\"field-0\"",
        "\"base64\"",
        " ",
        "\u{e9}",
        "\n",
    ]);
    prop_oneof![any::<Vec<u8>>(), prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat().into_bytes()),]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn every_value_survives_json((ty, value) in typed_values(), base64 in any::<bool>()) {
        let bytes = if base64 { BytesAs::Base64 } else { BytesAs::Array };
        let text = written(&value, &ty, bytes);
        prop_assert_eq!(validate(text.as_bytes()), Ok(()));
        prop_assert!(!text.contains('\n'));
        let back = read(text.as_bytes(), &ty).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        // Compared as text: NaN is not equal to itself.
        prop_assert_eq!(written(&back, &ty, bytes), text);
        prop_assert_eq!(format!("{back:?}"), format!("{value:?}"));
    }

    #[test]
    fn readers_never_panic(text in almost_json(), ty in types()) {
        let _ = read(&text, &ty);
        let _ = item_text(&text);
        let params = [field("a", ty.clone()), field("b", option(Ty::U8))];
        for form in [ItemForm::Json, ItemForm::Cells, ItemForm::Raw] {
            for (params, spread) in [(&params[..1], Spread::One), (&params[..], Spread::Star)] {
                let _ = Plan::new(params, spread, &[], true).unwrap().arguments(&text, form);
            }
        }
    }

    #[test]
    fn checked_json_is_what_another_parser_takes(text in almost_json()) {
        let mut out = Vec::new();
        if compact(&text, &mut out).is_ok() {
            let ours: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let theirs: serde_json::Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(ours, theirs);
        } else if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&text) {
            // Keys given twice are the one thing that we alone refuse.
            prop_assert!(validate(&text).unwrap_err().message.contains("twice"), "{value}");
        }
    }
}

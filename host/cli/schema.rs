//! JSON Schema of a function's parameters, as `wpool run` reads them.

use serde_json::{Map, Value, json};

use crate::value::ty::{Case, Field, FuncTy, Ty};

/// The schema of an item under `--map`, for functions of one parameter, or of
/// an item under `--starmap`.
#[must_use]
pub fn item(function: &FuncTy) -> Value {
    match function.params.as_slice() {
        [one] => schema(&one.ty),
        several => {
            let by_position: Vec<_> = several.iter().map(|param| schema(&param.ty)).collect();
            json!({"anyOf": [fixed_array(&by_position), object(several)]})
        }
    }
}

/// The schema of one value.
#[must_use]
pub fn schema(ty: &Ty) -> Value {
    match ty {
        Ty::Bool => json!({"type": "boolean"}),
        Ty::S8 => integer(i8::MIN, i8::MAX),
        Ty::U8 => integer(u8::MIN, u8::MAX),
        Ty::S16 => integer(i16::MIN, i16::MAX),
        Ty::U16 => integer(u16::MIN, u16::MAX),
        Ty::S32 => integer(i32::MIN, i32::MAX),
        Ty::U32 => integer(u32::MIN, u32::MAX),
        Ty::I32 => integer(i32::MIN, u32::MAX),
        Ty::S64 => wide(integer(i64::MIN, i64::MAX)),
        Ty::U64 => wide(integer(u64::MIN, u64::MAX)),
        Ty::I64 => wide(integer(i64::MIN, u64::MAX)),
        Ty::F32 | Ty::F64 => json!({"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}),
        Ty::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Ty::String => json!({"type": "string"}),
        Ty::List(element) => list(ty, element),
        Ty::Record(fields) => object(fields),
        Ty::Tuple(elements) => fixed_array(&elements.iter().map(schema).collect::<Vec<_>>()),
        Ty::Variant(cases) => json!({"anyOf": cases.iter().map(case).collect::<Vec<_>>()}),
        Ty::Enum(names) => json!({"enum": names}),
        Ty::Option(inner) => option(inner),
        Ty::Result(ok, err) => json!({"anyOf": [tagged("ok", ok.as_deref()), tagged("err", err.as_deref())]}),
        Ty::Flags(names) => json!({"type": "array", "items": {"enum": names}, "uniqueItems": true}),
        Ty::Unsupported(_) => json!(false),
    }
}

fn integer(least: impl Into<Value>, most: impl Into<Value>) -> Value {
    json!({"type": "integer", "minimum": least.into(), "maximum": most.into()})
}

/// 64-bit integers may also be written as decimal strings.
fn wide(integer: Value) -> Value {
    json!({"anyOf": [integer, {"type": "string", "pattern": "^-?[0-9]+$"}]})
}

fn list(ty: &Ty, element: &Ty) -> Value {
    let array = json!({"type": "array", "items": schema(element)});
    if !ty.is_bytes() {
        return array;
    }
    let base64 = json!({
        "type": "object",
        "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["base64"],
        "additionalProperties": false,
    });
    json!({"anyOf": [array, base64]})
}

/// A nested option needs `{"some": …}` to be told from null.
fn option(inner: &Ty) -> Value {
    let some = match inner {
        Ty::Option(_) => json!({
            "type": "object",
            "properties": {"some": schema(inner)},
            "required": ["some"],
            "additionalProperties": false,
        }),
        plain => schema(plain),
    };
    json!({"anyOf": [{"type": "null"}, some]})
}

fn fixed_array(elements: &[Value]) -> Value {
    let count = elements.len();
    json!({"type": "array", "prefixItems": elements, "minItems": count, "maxItems": count})
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.clone(), schema(&field.ty))).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| !matches!(field.ty, Ty::Option(_))).map(|field| field.name.as_str()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn case(case: &Case) -> Value {
    let mut properties = Map::from_iter([("tag".to_owned(), json!({"const": case.name}))]);
    let mut required = vec!["tag"];
    if let Some(ty) = &case.ty {
        properties.insert("val".to_owned(), schema(ty));
        required.push("val");
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn tagged(name: &str, ty: Option<&Ty>) -> Value {
    let inner = ty.map_or(json!({"type": "null"}), schema);
    let properties = Map::from_iter([(name.to_owned(), inner)]);
    json!({"type": "object", "properties": properties, "required": [name], "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, ty: Ty) -> Field {
        Field { name: name.to_owned(), ty }
    }

    #[test]
    fn one_parameter_is_the_item_itself() {
        let function = FuncTy { params: vec![field("n", Ty::U8)], results: vec![] };
        assert_eq!(item(&function), json!({"type": "integer", "minimum": 0, "maximum": 255}));
    }

    #[test]
    fn several_parameters_come_as_array_or_object() {
        let function = FuncTy { params: vec![field("a", Ty::Bool), field("b", Ty::String)], results: vec![] };
        let schema = item(&function);
        assert_eq!(schema["anyOf"][0]["maxItems"], 2);
        assert_eq!(schema["anyOf"][1]["required"], json!(["a", "b"]));
    }

    #[test]
    fn optional_fields_may_be_absent() {
        let record = Ty::Record(vec![field("x", Ty::Option(Box::new(Ty::S8))), field("y", Ty::Char)]);
        assert_eq!(schema(&record)["required"], json!(["y"]));
    }

    #[test]
    fn nested_options_are_told_apart() {
        let nested = Ty::Option(Box::new(Ty::Option(Box::new(Ty::Bool))));
        assert!(schema(&nested)["anyOf"][1]["properties"]["some"].is_object());
    }

    #[test]
    fn bytes_may_be_base64() {
        let bytes = Ty::List(Box::new(Ty::U8));
        assert!(schema(&bytes)["anyOf"][1]["properties"]["base64"].is_object());
    }
}

//! The pool engine through the library, with real worker processes.

use std::time::{Duration, Instant};

use wpool::outcome::Kind;
use wpool::pool::{MapOptions, Pool};
use wpool::wire::message::Abi;

use crate::support::{item, numbers, options, pool, spec, work};

const SQUARE: &str = r#"(module (func (export "run") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0))))"#;

#[test]
fn outcomes_come_in_input_order() {
    let pool = pool(2, work(SQUARE, spec(Abi::Core, "run")));
    let values: Vec<String> = pool
        .outcomes(numbers(10_000), MapOptions::default())
        .expect("job")
        .map(|outcome| String::from_utf8(outcome.result.expect("ok").bytes.to_vec()).expect("text"))
        .collect();
    assert_eq!(values.len(), 10_000);
    for (index, value) in values.iter().enumerate() {
        assert_eq!(*value, (index * index).to_string());
    }
}

//! Attacks as data: they can be counted without being made.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::Arena;

/// One attack: a run of its own, and what must come of it.
struct Case {
    /// The row of the table that it belongs to.
    row: &'static str,
    name: String,
    act: Box<dyn FnOnce()>,
}

/// Attacks that one test makes.
#[derive(Default)]
pub struct Cases(Vec<Case>);

impl Cases {
    /// Adds an attack.
    pub fn add(&mut self, row: &'static str, name: impl Into<String>, act: impl FnOnce() + 'static) {
        self.0.push(Case { row, name: name.into(), act: Box::new(act) });
    }

    /// Adds guests with what their second item comes to.
    pub fn guests(&mut self, guests: impl IntoIterator<Item = Guest>) {
        for guest in guests {
            self.add(guest.row, guest.name.clone(), move || drop(guest.attacks()));
        }
    }

    /// The row of each attack.
    pub fn rows(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|case| case.row)
    }

    /// Makes all attacks; fails with the names of all that did not go well,
    /// each of which has told why.
    #[track_caller]
    pub fn run(self) {
        let failed: Vec<_> = self
            .0
            .into_iter()
            .filter_map(|case| {
                let name = format!("{} {}", case.row, case.name);
                let panic = catch_unwind(AssertUnwindSafe(case.act)).err()?;
                let why = panic.downcast_ref::<String>().map_or("no message", String::as_str);
                // At once, and not among all that the test has printed.
                crate::support::told(&format!("FAILED {name}: {:?}", why.chars().take(600).collect::<String>()));
                Some(name)
            })
            .collect();
        assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    }
}

/// A guest of three items, of which the second is hostile.
#[derive(Clone)]
pub struct Guest {
    row: &'static str,
    name: String,
    /// The module: its `run` takes a number and adds 40, but for item 1.
    wat: String,
    options: Vec<&'static str>,
    expected: &'static str,
    /// Bytes that the host is told to keep.
    kept: usize,
}

/// A guest whose module has these fields, and whose `run` does `body` to item
/// 1; without a `return`, its result is 41. `expected` is `KIND`, or
/// `KIND:WORD` with the value, trap, code or limit's flag.
pub fn guest(row: &'static str, name: impl Into<String>, fields: &str, body: &str, expected: &'static str) -> Guest {
    let wat = format!(
        "(module {fields} (func (export \"run\") (param $i i32) (result i32)
           (if (i32.eq (local.get $i) (i32.const 1)) (then {body}))
           (i32.add (local.get $i) (i32.const 40))))"
    );
    Guest::component(row, name, wat, expected)
}

impl Guest {
    /// The same as a component that is written out.
    pub fn component(row: &'static str, name: impl Into<String>, wat: String, expected: &'static str) -> Self {
        Self { row, name: name.into(), wat, options: Vec::new(), expected, kept: 0 }
    }

    /// The same, which fills what the host keeps for its tasks.
    pub fn keeping(mut self, bytes: usize) -> Self {
        self.kept = bytes;
        self
    }

    /// The same with options of the command line.
    pub fn with(mut self, options: &[&'static str]) -> Self {
        self.options.extend(options);
        self
    }

    /// Its module as text.
    pub fn wat(&self) -> &str {
        &self.wat
    }

    /// Runs it between two good items, which must be right and in order; gives
    /// the record of the second.
    pub fn attacks(&self) -> Value {
        let id = format!("{} {}", self.row, self.name);
        let arena = Arena::new();
        arena.write("guest.wat", &self.wat);
        let mut line = vec!["run", "guest.wat", "--map", "[0,1,2]", "--output", "records", "-j1"];
        line.extend(["--stats-file", "stats.json", "--invoke", "run"]);
        line.extend(&self.options);
        let ran = arena.attack_keeping(&id, &line, self.kept);
        let records = ran.records();
        assert_eq!(records.len(), 3, "{id}: {ran:?}");
        for (index, value) in [(0, 40), (2, 42)] {
            assert_eq!(records[index]["index"], index, "{id}");
            assert_eq!(records[index]["value"], value, "{id}: {}", records[index]);
        }
        let record = &records[1];
        let (kind, word) = self.expected.split_once(':').unwrap_or((self.expected, ""));
        assert_eq!(record["kind"], kind, "{id}: {record}");
        assert_eq!(ran.code, Some(i32::from(kind != "ok")), "{id}");
        let detail = &record["error"]["detail"];
        let found = match kind {
            "ok" => &record["value"],
            "trap" => &detail["trap"],
            "exit" => &detail["code"],
            _ => &detail["limit"]["flag"],
        };
        assert!(word.is_empty() || found.to_string().trim_matches('"') == word, "{id}: {record}");
        // Only what the host ends itself costs a worker.
        let stats: Value = serde_json::from_str(&arena.0.read("stats.json")).unwrap();
        let died = stats["stats"]["workers"]["died"].as_u64().unwrap();
        let keeps = self.options.contains(&"trap") && self.row != "C01";
        assert_eq!(died, u64::from(kind == "timeout" && !keeps), "{id}: {stats}");
        record.clone()
    }
}

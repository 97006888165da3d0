//! Exported functions over numbers. Their types are checked once, when the
//! guest is loaded: a call through the engine's checked interface would look
//! the type up in a registry that all threads share, which costs as much as a
//! tenth of a fresh instance.

#![expect(unsafe_code, reason = "the engine's call without a check of types, after a check of types")]

use wasmtime::{AsContextMut, Extern, ExternType, Func, FuncType, Instance, Module, ModuleExport, ValRaw, ValType};

/// A function of one module that takes and gives only numbers.
#[derive(Clone, Copy)]
pub struct NumberFunc {
    export: ModuleExport,
    slots: usize,
}

impl NumberFunc {
    /// The export `name`, if it is a function over numbers.
    #[must_use]
    pub fn new(module: &Module, name: &str) -> Option<Self> {
        let ExternType::Func(ty) = module.get_export(name)? else { return None };
        let number = |ty: ValType| matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
        if !ty.params().all(number) || !ty.results().all(number) {
            return None;
        }
        Some(Self { export: module.get_export_index(name)?, slots: slots(&ty) })
    }

    /// Numbers that a call needs room for: its parameters go in where its
    /// results come out.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Finds the function in an instance.
    ///
    /// # Errors
    /// An instance of another module.
    pub fn resolve(&self, store: impl AsContextMut, instance: Instance) -> wasmtime::Result<Resolved> {
        let export = instance.get_module_export(store, &self.export).and_then(Extern::into_func);
        let func = export.ok_or_else(|| wasmtime::Error::msg("the function is gone"))?;
        Ok(Resolved { func, slots: self.slots })
    }
}

/// A [`NumberFunc`] of one instance.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    func: Func,
    slots: usize,
}

impl Resolved {
    /// Calls the function; its results replace its parameters.
    ///
    /// # Errors
    /// What the guest ends with; too little room.
    pub fn call(&self, store: impl AsContextMut, slots: &mut [ValRaw]) -> wasmtime::Result<()> {
        if slots.len() < self.slots {
            return Err(wasmtime::Error::msg("too little room for a call"));
        }
        // SAFETY: the function is the export of the module whose type
        // `NumberFunc::new` has looked at (`get_module_export` gives nothing
        // for an instance of another), there is a slot for each of its
        // parameters and results, and all of these are numbers, for which any
        // bits are valid. A store that is not the function's is a panic.
        unsafe { self.func.call_unchecked(store, std::ptr::from_mut(slots)) }
    }
}

fn slots(ty: &FuncType) -> usize {
    ty.params().len().max(ty.results().len())
}

//! The only code that knows wasmtime: compiles modules, loads artifacts, runs
//! tasks. Used by workers, never by the host process.

//! The worker that calls an initializer for a snapshot, tried from inside: it
//! stands behind the walls of one that runs tasks.

use std::path::Path;
use std::time::Duration;

use wpool::Capabilities;
use wpool::capabilities::{Access, DirGrant};
use wpool::error::{Error, InitializerError};
use wpool::limits::Limits;
use wpool::outcome::Kind;
use wpool::pool::cache::Cache;
use wpool::pool::compile::{self, CompileOptions};
use wpool::pool::initialise::{self, Initialisation};
use wpool::pool::module::Module;
use wpool::sandbox::seccomp::{Files, Net};

use crate::lockdown::{all_others, holds_only_what_it_was_sent, is_locked_down, lacks, order, probe};
use crate::support::{binary, skipped};

/// Its initializer takes bytes, whatever they are.
const GUEST: &str = r#"(module (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 0))
    (func (export "init") (export "run") (param i32 i32) (result i64) (i64.const 0)))"#;

/// A module, compiled for a snapshot by a real worker, and a stand-in that is
/// to take it.
struct Stand {
    module: Module,
    options: CompileOptions,
    capabilities: Capabilities,
    _cache: tempfile::TempDir,
}

impl Stand {
    fn new(capabilities: Capabilities) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).expect("a cache");
        let module = Module::from_bytes("guest.wat", GUEST.as_bytes()).expect("text");
        let real = CompileOptions {
            cache: Some(cache),
            worker: Some(binary()),
            instrument: true,
            ..CompileOptions::default()
        };
        compile::prepare(&module, &real, &mut |_| {}).expect("compiles");
        let options = CompileOptions { worker: Some(probe()), instrument: false, ..real };
        Self { module, options, capabilities, _cache: folder }
    }

    /// What became of an order; `look` is called while it is carried out.
    fn orders(&self, order: &str, look: &mut dyn FnMut()) -> Box<InitializerError> {
        let wanted = Initialisation {
            function: "init".to_owned(),
            args: Some(order.to_owned()),
            limits: Limits { timeout: Some(Duration::from_secs(20)), ..Limits::default() },
            capabilities: self.capabilities.clone(),
            stub_imports: false,
        };
        match initialise::prepare(&self.module, &self.options, &wanted, &mut |_| look()) {
            Err(Error::Initializer(error)) => error,
            other => panic!("{order}: {other:?}"),
        }
    }

    /// Whether the order was death.
    fn is_death(&self, order: &str) -> bool {
        let error = self.orders(order, &mut || {});
        let violated = error.detail.reason.as_deref() == Some("sandbox-violation");
        assert_eq!(violated, error.kind == Kind::WorkerCrashed, "{order}: {error}");
        violated
    }

    /// What a call gave back; a negative number is an error.
    fn value(&self, order: &str) -> i64 {
        let error = self.orders(order, &mut || {});
        assert_eq!(error.kind, Kind::Error, "{order}: {error}");
        error.message.parse().unwrap_or_else(|_| panic!("{order}: {error}"))
    }
}

#[test]
fn every_system_call_that_is_not_listed_is_death_in_an_initializer() {
    let folder = tempfile::tempdir().unwrap();
    let net = Capabilities::none().allow_net("127.0.0.1:1").expect("a grant");
    for (capabilities, files, net) in [
        (Capabilities::none(), Files::None, Net::None),
        (granting(folder.path(), Access::ReadWrite), Files::Write, Net::None),
        (net, Files::None, Net::Sockets),
        // It has no client.
        (Capabilities { connections: true, ..Capabilities::none() }, Files::None, Net::None),
    ] {
        let stand = Stand::new(capabilities);
        for number in all_others(files, net) {
            assert!(stand.is_death(&order(number, [0; 6])), "system call {number} with {files:?}, {net:?}");
        }
    }
}

#[test]
fn starting_connecting_and_opening_are_death_in_an_initializer() {
    let stand = Stand::new(Capabilities::none());
    for deed in ["spawn", "thread", "connect", "read /etc/passwd", "read /proc/self/environ", "write /tmp/x"] {
        assert!(stand.is_death(&format!("\"{deed}\"")), "{deed}");
    }
    // As when the guest is at fault, and what tasks may do.
    for (deed, told) in [("panic", "true"), ("sleep", "1")] {
        assert_eq!(stand.orders(&format!("\"{deed}\""), &mut || {}).message, told);
    }
}

fn granting(folder: &Path, access: Access) -> Capabilities {
    let grant = DirGrant { host: folder.to_owned(), guest: "/data".to_owned(), access };
    Capabilities { dirs: vec![grant], ..Capabilities::none() }
}

#[test]
fn an_initializer_reaches_no_file_beside_those_granted() {
    if lacks("landlock-files") {
        return skipped("this system has no landlock");
    }
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for place in [&folder, &other] {
        std::fs::write(place.path().join("file"), "text").unwrap();
    }
    let (inside, outside) = (folder.path().display(), other.path().display());
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let stand = Stand::new(granting(folder.path(), access));
        let value = |deed: String| stand.value(&format!("\"{deed}\""));
        assert!(value(format!("read {inside}/file")) > 2);
        for path in [&format!("{outside}/file"), "/etc/passwd", "/proc/self/environ", "/proc/1/status", "/"] {
            assert!(value(format!("read {path}")) < 0, "{path}");
        }
        assert_eq!(value(format!("write {inside}/new")) > 2, access == Access::ReadWrite);
        assert!(value(format!("write {outside}/new")) < 0);
        assert_eq!(folder.path().join("new").exists(), access == Access::ReadWrite);
    }
}

#[test]
fn the_kernel_confirms_the_lock_down_of_an_initializers_worker() {
    let stand = Stand::new(Capabilities::none());
    let mut looked = 0;
    let told = stand.orders("\"sleep\"", &mut || {
        // Only what this thread has started.
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        if let [pid] = children.split_whitespace().collect::<Vec<_>>()[..] {
            let pid = pid.parse().expect("a number");
            is_locked_down(pid);
            holds_only_what_it_was_sent(pid);
            looked += 1;
        }
    });
    assert_eq!(told.message, "1", "{told}");
    if !Path::new("/proc/thread-self/children").exists() {
        return skipped("this kernel tells no children");
    }
    assert!(looked > 0, "it sleeps long enough to be looked at");
}
